"""Run the matrix: each component has services and proxies of its own, and its cells come one after another."""

import asyncio
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handrail.testing.drill.calls import run_calls
from handrail.testing.drill.matrix import MATRIX, Cell
from handrail.testing.drill.stores import run_postgres, run_sqlite, run_valkey


@dataclass(frozen=True, slots=True)
class CellResult:
    """What became of one cell; `observed` is `None` for one that was not run, and `why_not` says why."""

    cell: Cell
    observed: str | None
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    why_not: str = ""

    @property
    def deviates(self) -> bool:
        return bool(self.problems) or (self.observed is not None and self.observed != self.cell.expected)

    def as_record(self) -> dict[str, Any]:
        return {
            "component": self.cell.component,
            "fault": self.cell.fault,
            "expected": self.cell.expected,
            "observed": self.observed,
            "ok": None if self.observed is None and not self.problems else not self.deviates,
            "why_not": self.why_not or None,
            "problems": list(self.problems),
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, slots=True)
class Report:
    cells: Sequence[CellResult]
    seconds: float

    @property
    def deviations(self) -> list[CellResult]:
        return [each for each in self.cells if each.deviates]

    def as_record(self) -> dict[str, Any]:
        return {
            "object": "drill",
            "seconds": round(self.seconds, 1),
            "run": sum(each.observed is not None for each in self.cells),
            "deviations": len(self.deviations),
            "cells": [each.as_record() for each in self.cells],
        }


async def drill(
    components: Collection[str] | None = None,
    *,
    faults: Collection[str] | None = None,
    database_url: str | None = None,
    valkey_url: str | None = None,
) -> Report:
    """Run the cells of these components and faults, of all when left out.

    Args:
        database_url: an empty PostgreSQL database on 127.0.0.1 for the cells of that component.
        valkey_url: a Valkey server on 127.0.0.1, likewise.
    """
    began = time.perf_counter()
    chosen = [
        cell
        for cell in MATRIX
        if (not components or cell.component in components) and (not faults or cell.fault in faults)
    ]
    with tempfile.TemporaryDirectory(prefix="handrail-drill-") as folder:
        results = await _run(chosen, Path(folder), database_url, valkey_url)
    ordered = [results[cell.name] for cell in chosen]
    return Report(ordered, time.perf_counter() - began)


async def _run(
    chosen: Sequence[Cell], folder: Path, database_url: str | None, valkey_url: str | None
) -> dict[str, CellResult]:
    results = {cell.name: CellResult(cell, None, why_not=cell.why_not) for cell in chosen if cell.expected is None}
    rows: dict[str, list[Cell]] = {}
    for cell in chosen:
        if cell.expected is not None:
            rows.setdefault(cell.component, []).append(cell)
    sqlite, postgres = rows.pop("database_sqlite", []), rows.pop("database_postgresql", [])
    valkey = rows.pop("valkey", [])
    told: list[CellResult] = []
    opening = asyncio.Lock()
    for row in await asyncio.gather(*(run_calls(name, cells, folder / name, opening) for name, cells in rows.items())):
        told += [CellResult(*each) for each in row]
    # These alone: a full disk is full for everybody in this process.
    told += [CellResult(*each) for each in await run_sqlite(sqlite, folder / "sqlite")]
    if database_url is None:
        told += [CellResult(cell, None, why_not="no PostgreSQL was given; see --database-url") for cell in postgres]
    else:
        told += [CellResult(*each) for each in await run_postgres(postgres, folder / "postgresql", database_url)]
    if valkey_url is None:
        told += [CellResult(cell, None, why_not="no Valkey was given; see --valkey-url") for cell in valkey]
    else:
        told += [CellResult(*each) for each in await run_valkey(valkey, folder / "valkey", valkey_url)]
    return results | {each.cell.name: each for each in told}
