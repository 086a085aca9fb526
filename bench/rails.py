"""Whose code is it: the rail that a file belongs to, and what decision 14 of the architecture grants each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

Rail = Literal["floor", "routing", "spine", "durability", "security", "insight", "background"]
RAILS: tuple[Rail, ...] = get_args(Rail)

BUDGET_MS: Mapping[str, float] = {
    "floor": 1.2, "routing and spine": 0.8, "durability": 0.2, "security": 0.9,
    "insight and background": 0.3,
}  # fmt: skip
"""For a whole turn without tools and a message of 60 characters, on the machine where the floor takes 1.2 ms."""

# The first that a path contains decides; what no line names belongs to whoever called it.
_OWNERS: tuple[tuple[str, Rail], ...] = (
    ("handrail/http/guard.py", "security"),
    ("handrail/protection/", "security"),
    ("handrail/flows/boundary.py", "security"),
    ("handrail/flows/guardrails.py", "security"),
    ("handrail/flows/output.py", "security"),
    ("handrail/insight/", "insight"),
    ("handrail/telemetry/", "insight"),
    ("handrail/serving/routing/", "routing"),
    ("handrail/serving/resilience/", "durability"),
    ("handrail/oversight/", "durability"),
    ("handrail/flows/gate.py", "durability"),
    ("handrail/flows/journal.py", "durability"),
    ("handrail/flows/leases.py", "durability"),
    ("handrail/flows/model_call.py", "durability"),
    ("handrail/flows/park.py", "durability"),
    ("handrail/flows/settle.py", "durability"),
    ("handrail/serving/conversations/leases.py", "durability"),
    # What a server without rails does too: HTTP on both sides, JSON, the database, the event loop.
    ("handrail/http/", "floor"),
    ("handrail/serving/models/", "floor"),
    ("handrail/db/", "floor"),
    ("handrail/", "spine"),
    ("uvicorn/", "floor"),
    ("starlette/", "floor"),
    ("fastapi/", "floor"),
    ("asyncio/runners.py", "floor"),
)


# Keepers whose work is insight's, done beside the turns: whatever they call is theirs, the database too. The two that
# only hand on to a room are known by `every`, which called them.
_BACKGROUND = tuple(
    f"handrail/flows/{name}.py"
    for name in ("rollup", "indexing", "repricing", "gauges", "alerting", "spending", "signals")
)
_KEEPERS = "handrail/flows/keepers.py"


def rail_of_stack(paths: Iterable[str]) -> Rail:
    """The rail of what runs, by the files of its frames, the innermost first."""
    rail: Rail | None = None
    for path in paths:
        if any(part in path for part in _BACKGROUND):
            return "background"
        if _KEEPERS in path and rail == "insight":
            return "background"
        rail = rail or rail_of(path)
    return rail or "floor"


def rail_of(path: str) -> Rail | None:
    """The rail of a source file, None for one that works for its caller (numpy, pydantic, dataclasses)."""
    return next((rail for part, rail in _OWNERS if part in path), None)
