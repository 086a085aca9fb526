"""Baselines: what a measure was before, kept under a number and never changed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, func, insert, literal_column, select

from handrail.core import json
from handrail.core.errors import UsageError
from handrail.db import Batch, Database, Prepared, Row, scoped
from handrail.insight.scorecard.measures import MEASURES
from handrail.insight.scorecard.statistics import Estimate, Sums, mean, share
from handrail.insight.scorecard.tables import scorecard_baseline as _b

_COLUMNS = (
    "id", "tenant_id", "agent", "version", "source", "note", "since", "until", "release_id", "measures", "created_by",
    "created_at", "currency",
)  # fmt: skip
_next = (
    select(func.coalesce(func.max(_b.c.version), literal_column("0")) + literal_column("1"))
    .where(_b.c.tenant_id == bindparam("tenant_id"), _b.c.agent == bindparam("agent"))
    .scalar_subquery()
)
_ADD = Prepared(
    insert(_b).values(
        {name: _next if name == "version" else bindparam(name, type_=_b.c[name].type) for name in _COLUMNS}
    )
)
_LIST = Prepared(scoped(_b).where(_b.c.agent == bindparam("agent")).order_by(_b.c.version.desc()))


class InvalidBaseline(UsageError):
    """A given baseline names no known measure, or numbers that can't be."""

    code = "invalid_baseline"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was measured in a time, or what somebody says it was before there was an agent (`source` is `given`).

    Attributes:
        currency: of its money; None of one that was kept before this was written down.
    """

    id: str
    tenant_id: str
    agent: str
    source: str
    note: str | None
    since: int | None
    until: int | None
    release_id: str | None
    measures: Mapping[str, Estimate]
    created_by: str
    created_at: int
    currency: str | None = None
    version: int = 0

    def measures_in(self, currency: str) -> Mapping[str, Estimate]:
        """What can be compared with a report in this currency: all of it, or all but its money."""
        if self.currency in (None, currency):
            return self.measures
        return {key: each for key, each in self.measures.items() if MEASURES[key].kind != "money"}

    @classmethod
    def of(cls, row: Row) -> "Baseline":
        measures = {key: Estimate(**each) for key, each in json.loads(row["measures"]).items()}
        return cls(**{name: row[name] for name in _COLUMNS if name != "measures"}, measures=measures)


class BaselineStore:
    """The table of baselines."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, baseline: Baseline) -> None:
        """Keep it under the agent's next number."""
        values = {name: getattr(baseline, name) for name in _COLUMNS if name not in ("measures", "version")}
        measures = {key: asdict(each) for key, each in baseline.measures.items()}
        batch.add(_ADD, values | {"measures": json.dumps(measures)})

    async def list(self, tenant_id: str, agent: str) -> Sequence[Baseline]:
        """Newest first."""
        return [Baseline.of(row) for row in await self._db.scan(_LIST, {"tenant_id": tenant_id, "agent": agent})]


def given(measures: Mapping[str, Mapping[str, float]]) -> Mapping[str, Estimate]:
    """Estimates from what somebody knows of the time before: for each measure a `value` and of how many, `n`.

    A share gets its interval from them; a mean also needs `deviation`, the standard deviation of one observation.

    Raises:
        InvalidBaseline
    """
    return {key: _given(key, each) for key, each in measures.items()}


def _given(key: str, said: Mapping[str, float]) -> Estimate:
    measure = MEASURES.get(key)
    if measure is None:
        raise InvalidBaseline(f"no measure is called {key!r}; use one of {', '.join(MEASURES)}")
    if unknown := sorted(set(said) - {"value", "n", "deviation"}):
        raise InvalidBaseline(f"{key}: {unknown[0]!r} is not known; a measure has `value`, `n` and perhaps `deviation`")
    value, n = said.get("value"), said.get("n")
    if value is None or n is None or n < 1 or n != int(n):
        raise InvalidBaseline(f"{key}: give its `value`, and of how many observations as a whole number `n`")
    if measure.kind == "share":
        if not 0 <= value <= 1:
            raise InvalidBaseline(f"{key}: {value} is no share; give a number between 0 and 1")
        return share(Sums(int(n), n, value * n, value * n, value * n, n))
    deviation = said.get("deviation")
    if deviation is not None and measure.kind == "seconds":
        raise InvalidBaseline(f"{key}: a percentile has no `deviation`; give its `value` and `n`")
    if deviation is None:
        return Estimate(value, None, None, int(n), int(n), n)
    return mean(Sums(int(n), n, value * n, n * value * value + (n - 1) * deviation**2, value * n, n))
