"""The load generator: turns one after another on each of several connections, timed at the client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from bench.clients import Client, Turn, WrongAnswer

if TYPE_CHECKING:
    from bench.processes import Server

DRAIN_SECONDS = 60
"""How long turns in flight may take to end; the slowest contender needs three."""


@dataclass(slots=True)
class LoadResult:
    """What one window of load measured."""

    turns: list[Turn] = field(default_factory=list[Turn])
    errors: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    cpu_ms: float = 0.0

    @property
    def turns_per_second(self) -> float:
        return len(self.turns) / self.seconds

    @property
    def cpu_ms_per_turn(self) -> float:
        return self.cpu_ms / max(1, len(self.turns))


async def closed_loop(server: Server, clients: Sequence[Client], seconds: float) -> LoadResult:
    """Keep every client busy for `seconds`, then wait for the turns in flight and count them too.

    Counting to the end of the last turn keeps the rate true when 64 slow turns finish all at once.
    """
    result = LoadResult()
    cpu_before, started_at = server.cpu_ms(), perf_counter()
    try:
        async with asyncio.timeout(seconds + DRAIN_SECONDS):
            await asyncio.gather(*(_keep_busy(client, started_at + seconds, result) for client in clients))
    except TimeoutError:
        result.errors.append(f"turns were still running {DRAIN_SECONDS} s after the window")
    result.seconds = perf_counter() - started_at
    result.cpu_ms = server.cpu_ms() - cpu_before
    for client in clients:
        client.close()
    return result


async def _keep_busy(client: Client, until: float, result: LoadResult) -> None:
    while perf_counter() < until:
        try:
            result.turns.append(await client.turn())
        except (WrongAnswer, OSError) as error:
            result.errors.append(f"{type(error).__name__}: {error}")
            return


async def in_turn(clients: Mapping[str, Client], *, blocks: int, turns: int) -> dict[str, list[Turn]]:
    """One connection at a time: blocks of a few turns with each client, the order rotated from block to block.

    Short blocks put every client into the same weather; each block's first turn warms the caches and is not counted.
    """
    names = list(clients)
    measured: dict[str, list[Turn]] = {name: [] for name in names}
    for block in range(blocks):
        for at in range(len(names)):
            name = names[(block + at) % len(names)]
            await clients[name].turn()
            measured[name] += [await clients[name].turn() for _ in range(turns)]
    for client in clients.values():
        client.close()
    return measured
