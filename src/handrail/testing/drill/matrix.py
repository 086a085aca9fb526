"""What is declared: for each component and fault one outcome, or why the fault can't happen there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

# How an answer came about. `cut`: whole but for its length. `restart`: another model began anew after
# text was seen. `unknown`: a write that may have happened is with a person. `refused`: 503 with Retry-After, and
# nothing is stored.
Expected = Literal[
    "primary", "cut", "retry", "secondary", "restart", "cached", "honest", "unknown", "refused"
]  # fmt: skip

FAULTS: Mapping[str, str] = {
    "latency": "each answer begins later",
    "jitter": "each answer begins later, by a different time",
    "reset": "connections are reset before the request arrives",
    "half_open": "requests are swallowed, nothing is answered or closed",
    "slow_drip": "answers arrive a byte at a time",
    "truncated": "the connection is closed in the middle of an answer",
    "rate_limited": "429 with Retry-After to everything",
    "malformed_json": "200 with JSON that breaks off",
    "too_large": "an answer far larger than any should be",
    "not_json": "200 with a page of HTML",
    "down": "connections are refused",
    "disk_full": "no byte can be written any more",
}

COMPONENTS: Mapping[str, str] = {
    "model_primary": "the first model of the chain; a second one is there",
    "model_secondary": "the last model of the chain, while the first is down",
    "read_tool": "a read with a secondary",
    "secondary_tool": "what stands in for a read, while the read is down and a last good value is known",
    "idempotent_write": "a write that one key makes happen once",
    "other_write": "a write that may be tried once only",
    "database_sqlite": "the SQLite file",
    "database_postgresql": "the PostgreSQL server",
    "valkey": "the Valkey server that replicas share their counters and news in",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One component under one fault: the outcome that is declared, or `why_not`."""

    component: str
    fault: str
    expected: Expected | None
    why_not: str = ""

    @property
    def name(self) -> str:
        return f"{self.component}/{self.fault}"


_NOT_HTTP = "it does not speak HTTP"
_A_FILE = "a file in this process has no network"
_ITS_OWN_DISK = "the disk is the database's; see database_sqlite"
_ROWS = "rows are as large as what was stored"

_DECLARED: Mapping[str, Mapping[str, Expected | str]] = {
    "model_primary": {
        "latency": "primary", "jitter": "primary", "reset": "secondary", "half_open": "secondary",
        "slow_drip": "secondary", "truncated": "restart", "rate_limited": "secondary", "malformed_json": "secondary",
        "too_large": "secondary", "not_json": "secondary", "down": "secondary", "disk_full": _ITS_OWN_DISK,
    },
    "model_secondary": {
        "latency": "secondary", "jitter": "secondary", "reset": "honest", "half_open": "honest",
        "slow_drip": "honest", "truncated": "honest", "rate_limited": "honest", "malformed_json": "honest",
        "too_large": "honest", "not_json": "honest", "down": "honest", "disk_full": _ITS_OWN_DISK,
    },
    "read_tool": {
        "latency": "primary", "jitter": "primary", "reset": "secondary", "half_open": "secondary",
        "slow_drip": "secondary", "truncated": "secondary", "rate_limited": "secondary", "malformed_json": "secondary",
        "too_large": "cut", "not_json": "secondary", "down": "secondary", "disk_full": _ITS_OWN_DISK,
    },
    "secondary_tool": {
        "latency": "secondary", "jitter": "secondary", "reset": "cached", "half_open": "cached",
        "slow_drip": "cached", "truncated": "cached", "rate_limited": "cached", "malformed_json": "cached",
        "too_large": "secondary", "not_json": "cached", "down": "cached", "disk_full": _ITS_OWN_DISK,
    },
    "idempotent_write": {
        "latency": "primary", "jitter": "primary", "reset": "unknown", "half_open": "unknown",
        "slow_drip": "unknown", "truncated": "unknown", "rate_limited": "honest", "malformed_json": "unknown",
        "too_large": "cut", "not_json": "unknown", "down": "honest", "disk_full": _ITS_OWN_DISK,
    },
    "other_write": {
        "latency": "primary", "jitter": "primary", "reset": "unknown", "half_open": "unknown",
        "slow_drip": "unknown", "truncated": "unknown", "rate_limited": "honest", "malformed_json": "unknown",
        "too_large": "cut", "not_json": "unknown", "down": "honest", "disk_full": _ITS_OWN_DISK,
    },
    "database_sqlite": {
        **dict.fromkeys(FAULTS, _A_FILE),
        "rate_limited": _NOT_HTTP, "malformed_json": _NOT_HTTP, "too_large": _ROWS, "not_json": _NOT_HTTP,
        "disk_full": "refused",
    },
    "database_postgresql": {
        "latency": "primary", "jitter": "primary", "reset": "refused", "half_open": "refused",
        "slow_drip": "refused", "truncated": "refused", "rate_limited": _NOT_HTTP, "malformed_json": _NOT_HTTP,
        "too_large": _ROWS, "not_json": _NOT_HTTP, "down": "refused",
        "disk_full": "PostgreSQL says so itself, as it does of every refusal: see `down`",
    },
    "valkey": {
        **dict.fromkeys(FAULTS, "primary"),
        "rate_limited": _NOT_HTTP, "malformed_json": _NOT_HTTP, "too_large": _ROWS, "not_json": _NOT_HTTP,
        "disk_full": "it keeps nothing that must last",
    },
}  # fmt: skip
_OUTCOMES = frozenset(get_args(Expected))


def _cell(component: str, fault: str) -> Cell:
    declared = _DECLARED[component][fault]
    if declared in _OUTCOMES:
        return Cell(component, fault, cast(Expected, declared))
    return Cell(component, fault, None, declared)


MATRIX: tuple[Cell, ...] = tuple(_cell(component, fault) for component in COMPONENTS for fault in FAULTS)
