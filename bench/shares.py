"""Where the CPU of a turn goes, by rail, against the budget in `rails.py`: measured at a server of its own."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from bench.clients import TurnClient
from bench.dialogue import Case, Message, messages
from bench.durable import durable_costs
from bench.load import closed_loop
from bench.rails import BUDGET_MS
from bench.results import FLOOR, HANDRAIL, Results

if TYPE_CHECKING:
    from bench.processes import Server

CASES: Mapping[Case, str] = {"plain": "60 characters", "long": "500 characters"}
SHARE = "share of CPU ms, "
CONNECTIONS = 16
WRITE_SECONDS = 10


class Shares:
    """Measures the floor and the profiled Handrail side by side."""

    def __init__(self, floor: Server, handrail: Server, split_file: Path, results: Results) -> None:
        self._floor = floor
        self._handrail = handrail
        self._split_file = split_file
        self._results = results
        self._first_order = 100_000

    async def run(self, *, rounds: int, seconds: float) -> None:
        for case in CASES:
            await self._load(self._handrail, case, 1.0)
            await self._load(self._floor, case, 1.0)
            for _ in range(rounds):
                await self._round(case, seconds)

    async def _round(self, case: Case, seconds: float) -> None:
        floor_ms, _ = await self._load(self._floor, case, seconds)
        self._handrail.signal(signal.SIGUSR1)
        whole_ms, turns = await self._load(self._handrail, case, seconds)
        split = await self._split()
        about = CASES[case]
        self._results.add(f"{SHARE}{about}: whole turn", FLOOR, floor_ms)
        self._results.add(f"{SHARE}{about}: whole turn", HANDRAIL, whole_ms)
        for rail, rail_seconds in split.items():
            self._results.add(f"{SHARE}{about}: {rail}", HANDRAIL, 1000 * rail_seconds / turns)
            self._results.add(f"{SHARE}{about}: {rail}", FLOOR, floor_ms)

    async def _load(self, server: Server, case: Case, seconds: float) -> tuple[float, int]:
        """CPU milliseconds a turn, and how many there were."""
        clients = [TurnClient(server.port, self._messages(case)) for _ in range(CONNECTIONS)]
        result = await closed_loop(server, clients, seconds)
        self._results.fail(f"{server.name}, shares", result.errors)
        return result.cpu_ms_per_turn, max(1, len(result.turns))

    def _messages(self, case: Case) -> Iterator[Message]:
        self._first_order += 700
        return messages(case, first_order=self._first_order)

    async def _split(self) -> Mapping[str, float]:
        """The seconds by rail since the last signal, as in `BUDGET_MS` with routing and spine apart."""
        self._split_file.unlink(missing_ok=True)
        self._handrail.signal(signal.SIGUSR2)
        until = time.monotonic() + WRITE_SECONDS
        while not self._split_file.exists():
            if time.monotonic() > until:
                raise self._handrail.failed("did not say where its CPU time went")
            await asyncio.sleep(0.01)
        return orjson.loads(self._split_file.read_bytes())


async def durable(folder: Path, results: Results, *, rounds: int) -> None:
    """The cost of a durable tool call, as rows of the table."""
    for number in range(rounds):
        for kind, cost in (await durable_costs(folder / f"durable-{number}.db")).items():
            results.add(f"durable {kind} call, CPU ms", HANDRAIL, cost.cpu_ms)
            results.add(f"durable {kind} call, wall ms", HANDRAIL, cost.wall_ms)


def share_table(results: Results) -> str:
    """Each rail's share of a plain turn, in milliseconds and in floors, against the budget; empty when not measured."""
    if not any(metric.startswith(SHARE) for metric in results.values):
        return ""
    head = [f"{about}: ms | in floors" for about in CASES.values()]
    lines = [
        f"| CPU of a turn by rail | {' | '.join(head)} | budget: ms | in floors |",
        f"| --- |{' --- | --- |' * len(CASES)} --- | --- |",
    ]
    parts = {name: name.split(" and ") for name in BUDGET_MS}
    for name, rails in parts.items():
        cells = [_sum(results, about, rails) for about in CASES.values()]
        lines.append(_line(name, cells, BUDGET_MS[name]))
        if len(rails) > 1:
            lines += [
                _line(f"- {rail}", [_sum(results, about, [rail]) for about in CASES.values()], None) for rail in rails
            ]
    whole = [_sum(results, about, [rail for rails in parts.values() for rail in rails]) for about in CASES.values()]
    return "\n".join([*lines, _line("together", whole, sum(BUDGET_MS.values()))])


def _sum(results: Results, about: str, rails: list[str]) -> tuple[float, float]:
    """Milliseconds, and times the floor's CPU of the same rounds."""
    found = [(f"{SHARE}{about}: {rail}", HANDRAIL) for rail in rails]
    milliseconds = [figure.median for each in found if (figure := results.figure(*each))]
    floors = [ratio.median for metric, _ in found if (ratio := results.ratio(metric, HANDRAIL, FLOOR))]
    return sum(milliseconds), sum(floors)


def _line(name: str, cells: list[tuple[float, float]], budget_ms: float | None) -> str:
    measured = " | ".join(f"{milliseconds:.2f} | {floors:.2f}" for milliseconds, floors in cells)
    budget = " | " if budget_ms is None else f"{budget_ms:.1f} | {budget_ms / BUDGET_MS['floor']:.2f}"
    return f"| {name} | {measured} | {budget} |"
