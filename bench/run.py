"""`python -m bench`: measure Handrail between its floor and a bare framework endpoint, in rounds that take turns."""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.contenders import Contenders, ModelTiming, missing
from bench.dialogue import ANSWER_TOKENS
from bench.disk import file_system, fsync_ms
from bench.processes import Fleet, ServerFailed, allow_many_sockets
from bench.report import bars, is_met, last_line, table
from bench.results import FLOOR, HANDRAIL, PEER, Results
from bench.sections import JSON_CELLS, LONG_CELLS, THROUGHPUT_CELLS, Bench
from bench.shares import Shares, durable, share_table
from bench.streams import StreamPlan

SECTIONS = ("latency", "throughput", "long", "json", "shares", "streams")
SECONDS_FOR_STREAM_ROUNDS = 410
"""No round of streams begins after this, so that a run on a slow machine still ends within its eight minutes."""
ROUND_SECTIONS = frozenset(SECTIONS) - {"shares", "streams"}


@dataclass(frozen=True)
class Plan:
    """How much is measured. The defaults take about six and a half minutes."""

    sections: tuple[str, ...] = SECTIONS
    rounds: int = 5
    cell_seconds: float = 2.0
    latency_blocks: int = 10
    stream_rounds: int = 3
    share_rounds: int = 3
    streams: StreamPlan = field(default_factory=StreamPlan)
    timing: ModelTiming = field(default_factory=lambda: ModelTiming(ANSWER_TOKENS))


async def measure(plan: Plan, names: Sequence[str], folder: Path, results: Results) -> None:
    """All rounds, then the streams, each with fresh servers."""
    until = time.monotonic() + SECONDS_FOR_STREAM_ROUNDS
    if ROUND_SECTIONS & set(plan.sections):
        with Fleet() as fleet:
            contenders = Contenders(fleet, folder / "rounds", plan.timing)
            bench = Bench(contenders.mock, [contenders.start(name) for name in names], results)
            await _rounds(bench, plan, folder)
    if "shares" in plan.sections and HANDRAIL in names:
        _say("the shares of the rails")
        await _shares(plan, folder / "shares", results)
    if "streams" in plan.sections:
        timing = ModelTiming(plan.streams.tokens, plan.streams.first_token_ms, plan.streams.gap_ms)
        # The bar compares with the floor; a framework that needs minutes for this would only use up the time.
        with_floor = [name for name in names if name != PEER]
        with Fleet() as fleet:
            contenders = Contenders(fleet, folder / "streams", timing)
            bench = Bench(contenders.mock, [contenders.start(name) for name in with_floor], results)
            for number in range(plan.stream_rounds):
                if number and time.monotonic() > until:
                    _say("the time is up: no more rounds of streams")
                    break
                _say(f"{plan.streams.count} streams, round {number + 1} of {plan.stream_rounds}")
                await bench.streams_round(plan.streams, number)


async def _rounds(bench: Bench, plan: Plan, folder: Path) -> None:
    await bench.warm_up(plan.cell_seconds / 2)
    cells = {"throughput": THROUGHPUT_CELLS, "long": LONG_CELLS, "json": JSON_CELLS}
    for number in range(plan.rounds):
        _say(f"round {number + 1} of {plan.rounds}; an fsync takes {fsync_ms(folder):.2f} ms")
        if "latency" in plan.sections:
            await bench.latency_round("plain", blocks=plan.latency_blocks)
            await bench.latency_round("tools", blocks=plan.latency_blocks)
        for section, its_cells in cells.items():
            for cell in its_cells if section in plan.sections else ():
                await bench.throughput_round(cell, plan.cell_seconds, number)
    bench.memory()


async def _shares(plan: Plan, folder: Path, results: Results) -> None:
    with Fleet() as fleet:
        contenders = Contenders(fleet, folder, plan.timing)
        split_file = folder / "split.json"
        shares = Shares(contenders.start(FLOOR), contenders.start_profiled(split_file), split_file, results)
        await shares.run(rounds=plan.share_rounds, seconds=plan.cell_seconds)
    await durable(folder, results, rounds=plan.share_rounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the benchmark; 0 when no line of the bar fails."""
    options = _parser().parse_args(arguments)
    started_at = time.monotonic()
    plan, results = _plan(options), Results()
    names = _present([name for name in (FLOOR, HANDRAIL, PEER) if name not in options.without])
    allow_many_sockets()
    gc.freeze()
    folder = Path(tempfile.mkdtemp(prefix="handrail-bench-", dir=options.folder))
    _say(f"databases and logs: {folder} on {file_system(folder)}; {os.cpu_count()} cores")
    try:
        uvloop.run(measure(plan, names, folder, results))
    except ServerFailed as error:
        _say(str(error))
        return 2
    finally:
        if not options.keep:
            shutil.rmtree(folder)
    minutes = (time.monotonic() - started_at) / 60
    checked = bars(results, streams=plan.streams.count, minutes=minutes)
    for error in results.errors[:5]:
        _say(f"error: {error}")
    print(table(results), share_table(results), *checked, "", sep="\n")
    about = {"rounds": plan.rounds, "quick": options.quick, "sections": plan.sections, "minutes": round(minutes, 2)}
    print(last_line(results, checked, about), flush=True)
    return 0 if is_met(checked) else 1


def _plan(options: argparse.Namespace) -> Plan:
    timing = ModelTiming(ANSWER_TOKENS, options.first_token_ms, options.gap_ms)
    sections = tuple(options.only or SECTIONS)
    if options.quick:
        return Plan(sections, 2, 1.0, 4, 1, 1, StreamPlan(count=200, start_seconds=1.0), timing)
    return Plan(sections, rounds=options.rounds, timing=timing)


def _present(names: list[str]) -> list[str]:
    reasons = {name: missing(name) for name in names}
    for name, reason in reasons.items():
        if reason:
            _say(f"{name} is skipped: {reason}")
    return [name for name in names if reasons[name] is None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds and 200 streams: a look, not a result")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="measure this part; may be given again")
    parser.add_argument("--without", action="append", default=[], choices=(FLOOR, HANDRAIL, PEER), help="leave one out")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--first-token-ms", type=float, default=0, help="first-token delay of the mock model")
    parser.add_argument("--gap-ms", type=float, default=0, help="time between two tokens of the mock model")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where the databases go (default: here)")
    parser.add_argument("--keep", action="store_true", help="keep the databases and logs")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
