"""`python -m bench.intents`: what the intent head reaches on public data, beside the bars it is held to.

Trains through the public command on the training files and measures on the public test files. Needs the data folder
(`HANDRAIL_INTENT_DATA`, by default `../shared/data/intents`); without it, it says so and ends.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("HANDRAIL_INTENT_DATA", ROOT.parent / "shared/data/intents"))


@dataclass(frozen=True)
class Case:
    """One head and its test: files under the data folder, and each figure's bar (`>=` when positive is better)."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    least: dict[str, float]
    most: dict[str, float]


SPEED = {"train_seconds": 20.0, "p50_ms": 0.4, "p95_ms": 1.0}
CASES = (
    Case(
        "Banking77",
        ("banking77/train.jsonl",),
        ("banking77/test_public.jsonl",),
        {"accuracy": 0.92, "accuracy_above_0_9": 0.975, "coverage_above_0_9": 0.82},
        {"held_out_ece": 0.015, **SPEED},
    ),
    Case(
        "CLINC150, generic out-of-scope examples",
        ("clinc150/train.jsonl",),
        ("clinc150/test_public.jsonl", "clinc150/oos_test_public.jsonl"),
        {"accuracy": 0.93, "accuracy_above_0_9": 0.985, "coverage_above_0_9": 0.86},
        {"held_out_ece": 0.015, **SPEED},
    ),
    Case(
        "CLINC150, out-of-scope examples given",
        ("clinc150/train.jsonl", "clinc150/oos_train.jsonl"),
        ("clinc150/test_public.jsonl", "clinc150/oos_test_public.jsonl"),
        {"accuracy": 0.93, "accuracy_above_0_9": 0.985, "coverage_above_0_9": 0.83},
        {"held_out_ece": 0.015, "oos_autonomous": 0.045, **SPEED},
    ),
    Case(
        "CLINC150, validation rows given too",
        ("clinc150/train.jsonl", "clinc150/val.jsonl", "clinc150/oos_train.jsonl", "clinc150/oos_val.jsonl"),
        ("clinc150/test_public.jsonl", "clinc150/oos_test_public.jsonl"),
        {"accuracy": 0.93, "accuracy_above_0_9": 0.985, "coverage_above_0_9": 0.83},
        {"held_out_ece": 0.015, "oos_autonomous": 0.045, **SPEED},
    ),
)


def main() -> int:
    missing = [name for case in CASES for name in case.train + case.test if not (DATA / name).is_file()]
    if missing:
        print(
            f"bench.intents is skipped: {DATA / missing[0]} is not there; set HANDRAIL_INTENT_DATA to the data folder"
        )
        return 0
    found = {case.name: _measure(case) for case in CASES}
    for case in CASES:
        print(_table(case, found[case.name]), end="\n\n")
    print(json.dumps(found))
    return 0


def _measure(case: Case) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        head = Path(folder, "head.npz")
        start, before = time.perf_counter(), _cpu_of_children()
        report = _intents("train", *(str(DATA / name) for name in case.train), "--out", str(head), "--json")
        seconds, cpu_seconds = time.perf_counter() - start, _cpu_of_children() - before
        figures = _intents("eval", str(head), *(str(DATA / name) for name in case.test), "--json")
        held_out = report["held_out"]
        kept = ("accuracy", "ece", "coverage_above_0_9", "accuracy_above_0_9", "oos_autonomous")
        own = {f"held_out_{name}": held_out[name] for name in kept}
        spent = {"train_seconds": seconds, "train_cpu_seconds": cpu_seconds}
        return {**figures, **own, **spent, "head_megabytes": head.stat().st_size / 1e6}


def _cpu_of_children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _intents(*arguments: str) -> dict[str, Any]:
    """What `handrail intents ...` runs, start of the process included."""
    command = [sys.executable, "-c", "from handrail.cli.intents import app; app()", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"handrail intents {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def _table(case: Case, found: dict[str, Any]) -> str:
    lines = [f"{case.name}"]
    for name, bar in case.least.items():
        lines.append(_line(name, found[name], f">= {bar:g}", found[name] >= bar))
    for name, bar in case.most.items():
        lines.append(_line(name, found[name], f"<= {bar:g}", found[name] <= bar))
    low, high = found["ece_interval"]
    lines.append(f"  ece on the test rows          {found['ece']:8.4f}  ({low:.4f} to {high:.4f})")
    for name in ("oos_autonomous", "train_cpu_seconds", "head_megabytes"):
        if name not in case.most and found[name] is not None:
            lines.append(f"  {name:28}  {found[name]:8.4f}")
    return "\n".join(lines)


def _line(name: str, value: float, bar: str, met: bool) -> str:
    return f"  {name:28}  {value:8.4f}  {bar:9}  {'met' if met else 'MISSED'}"


if __name__ == "__main__":
    raise SystemExit(main())
