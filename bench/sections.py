"""The parts of the benchmark. Each runs one round and adds what it saw to the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from time import process_time
from urllib.request import urlopen

import orjson

from bench.clients import Client, MockClient, TurnClient
from bench.dialogue import Case, Message, messages
from bench.figures import percentile
from bench.load import closed_loop, in_turn
from bench.processes import Server
from bench.results import MOCK, Results
from bench.streams import ModelStream, Stream, StreamPlan, TurnStream, run_streams

MODEL_CALLS: Mapping[Case, int] = {"plain": 1, "long": 1, "tools": 2}


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of load: which messages, over how many connections, streamed or as one JSON answer."""

    case: Case
    connections: int
    streamed: bool = True

    @property
    def name(self) -> str:
        return f"{self.case} {'' if self.streamed else 'json '}@{self.connections}"


THROUGHPUT_CELLS = (Cell("plain", 16), Cell("plain", 64), Cell("tools", 16), Cell("tools", 64))
LONG_CELLS = (Cell("long", 16),)
JSON_CELLS = (Cell("plain", 16, streamed=False),)


class Bench:
    """Runs rounds against the servers it was given; the mock model stands behind all of them."""

    def __init__(self, mock: Server, servers: Sequence[Server], results: Results) -> None:
        self._mock = mock
        self._servers = servers
        self._results = results
        # Every client starts at an order id of its own, so that no message is sent twice.
        self._first_orders = count(100_000, 700)

    async def warm_up(self, seconds: float) -> None:
        """Let every server import, connect and fill what it fills at its first turns."""
        for cell in (Cell("plain", 16), Cell("tools", 16)):
            for server in self._servers:
                result = await closed_loop(server, self._clients(server, cell), seconds)
                self._results.fail(f"{server.name}, warming up", result.errors)

    async def latency_round(self, case: Case, *, blocks: int, turns: int = 10) -> None:
        """One connection: how much later than the mock model alone each server ends its turn."""
        clients: dict[str, Client] = {server.name: self._client(server, Cell(case, 1)) for server in self._servers}
        clients[MOCK] = MockClient(self._mock.port, self._messages(case), with_tools=case == "tools")
        measured = await in_turn(clients, blocks=blocks, turns=turns)
        model_ms = percentile([turn.latency_ms for turn in measured[MOCK]], 50)
        for name, seen in measured.items():
            added = [turn.latency_ms - (0 if name == MOCK else model_ms) for turn in seen]
            self._results.add(f"added p50 ms, {case}", name, percentile(added, 50))
            self._results.add(f"added p95 ms, {case}", name, percentile(added, 95))
            own = [turn.overhead_ms for turn in seen if turn.overhead_ms is not None]
            if own:
                self._results.add(f"overhead_ms p50, {case}", name, percentile(own, 50))

    async def throughput_round(self, cell: Cell, seconds: float, order: int) -> None:
        """Turns per second and CPU per turn of each server in turn, beginning with another one each round."""
        for at in range(len(self._servers)):
            await self._throughput(self._servers[(order + at) % len(self._servers)], cell, seconds)

    async def _throughput(self, server: Server, cell: Cell, seconds: float) -> None:
        calls_before, mock_cpu, own_cpu = self._model_calls(), self._mock.cpu_ms(), process_time()
        result = await closed_loop(server, self._clients(server, cell), seconds)
        mock_cpu, own_cpu = self._mock.cpu_ms() - mock_cpu, 1000 * (process_time() - own_cpu)
        calls, wanted = self._model_calls() - calls_before, len(result.turns) * MODEL_CALLS[cell.case]
        if calls < wanted:
            result.errors.append(f"{len(result.turns)} turns made {calls} model calls instead of {wanted}")
        self._results.fail(f"{server.name}, {cell.name}", result.errors)
        turns = max(1, len(result.turns))
        self._results.add(f"turns/s, {cell.name}", server.name, result.turns_per_second)
        self._results.add(f"CPU ms/turn, {cell.name}", server.name, result.cpu_ms_per_turn)
        self._results.add(f"busy %, {cell.name}", server.name, result.cpu_ms / result.seconds / 10)
        self._results.add(f"model and load CPU ms/turn, {cell.name}", server.name, (mock_cpu + own_cpu) / turns)
        if result.turns:
            p95 = percentile([turn.latency_ms for turn in result.turns], 95)
            self._results.add(f"turn p95 ms, {cell.name}", server.name, p95)

    def memory(self) -> None:
        """Resident memory after all the rounds."""
        for server in self._servers:
            self._results.add("memory MB", server.name, server.rss_mb())

    async def streams_round(self, plan: StreamPlan, order: int) -> None:
        """All streams against each server; in the first round against the mock model alone too."""
        if order == 0:
            await self._streams(self._mock, plan)
        for at in range(len(self._servers)):
            await self._streams(self._servers[(order + at) % len(self._servers)], plan)

    async def _streams(self, server: Server, plan: StreamPlan) -> None:
        def make() -> Stream:
            texts = messages("plain", tokens=plan.tokens, first_order=next(self._first_orders))
            return (ModelStream if server is self._mock else TurnStream)(server.port, texts)

        result = await run_streams(server, plan, make)
        self._results.fail(f"{server.name}, streams", result.errors)
        self._results.add("streams completed", server.name, len(result.added_ms))
        if not result.added_ms:
            return
        self._results.add("stream added p50 ms", server.name, percentile(result.added_ms, 50))
        self._results.add("stream added p95 ms", server.name, percentile(result.added_ms, 95))
        self._results.add("stream token late p95 ms", server.name, percentile(result.token_late_ms, 95))
        self._results.add("CPU ms/stream", server.name, result.cpu_ms_per_stream)
        self._results.add("peak MB with streams", server.name, result.peak_mb)
        if not self._results.rounds("memory KB/stream", server.name):
            # Memory is kept for reuse after the first time, so only that one tells what streams take.
            self._results.add("memory KB/stream", server.name, result.memory_kb_per_stream)

    def _clients(self, server: Server, cell: Cell) -> list[Client]:
        return [self._client(server, cell) for _ in range(cell.connections)]

    def _client(self, server: Server, cell: Cell) -> Client:
        return TurnClient(server.port, self._messages(cell.case), streamed=cell.streamed)

    def _messages(self, case: Case) -> Iterator[Message]:
        return messages(case, first_order=next(self._first_orders))

    def _model_calls(self) -> int:
        with urlopen(f"{self._mock.url}/healthz", timeout=10) as answer:
            return orjson.loads(answer.read())["completions"]
