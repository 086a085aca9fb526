"""What reviewers found of the turns of closed conversations, each weighed by how likely it was to be drawn.

Only the routine sample counts: turns that were picked because of something say nothing of the others. Of several
reviewers of one turn the newest word holds. Read-only.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Float, Select, and_, bindparam, case, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.db import Database, Prepared
from handrail.insight.feedback.tables import review_verdict as _v
from handrail.insight.scorecard import Estimate, Sums, weighted
from handrail.insight.scorecard.tables import conversation_fact as _f
from handrail.reports.filters import Filters

# By measure: what the reviewer was asked.
_ASKED: Mapping[str, ColumnElement[Any]] = {
    "intent_accuracy": _v.c.intent_correct,
    "hallucination_rate": _v.c.hallucination,
}


async def reviewed(db: Database, filters: Filters) -> Mapping[str, Estimate]:
    """The measures that come from reviews; of one that nobody answered there is no value."""
    return {key: await _estimate(db, key, filters) for key in _ASKED}


async def _estimate(db: Database, key: str, filters: Filters) -> Estimate:
    row = (await db.scan(_statement(key, filters.named), filters.parameters))[0]
    sums = Sums(int(row["clusters"]), *(float(row[of]) for of in ("n", "x", "xx", "xn", "nn")))
    return weighted(sums, int(row["looked_at"]))


@cache
def _statement(key: str, narrowed: tuple[str, ...]) -> Prepared:
    """One row: the sums of each user's sums."""
    users = _per_user(_ASKED[key], narrowed).subquery()
    x, n = users.c.x, users.c.n
    sums = {"n": n, "x": x, "xx": x * x, "xn": x * n, "nn": n * n, "looked_at": users.c.looked_at}
    columns = [func.coalesce(func.sum(each), 0).label(name) for name, each in sums.items()]
    return Prepared(select(*columns, func.count().label("clusters")).select_from(users))


def _per_user(asked: ColumnElement[Any], narrowed: Sequence[str]) -> Select[*tuple[Any, ...]]:
    verdicts = _answers(asked).subquery()
    weight = literal_column("1.0", Float) / verdicts.c.inclusion_probability
    joined = verdicts.join(
        _f, and_(_f.c.tenant_id == bindparam("tenant_id"), _f.c.conversation_id == verdicts.c.conversation_id)
    )
    return (
        select(
            func.sum(case((verdicts.c.answer == literal_column("1"), weight), else_=literal_column("0.0"))).label("x"),
            func.sum(weight).label("n"),
            func.count().label("looked_at"),
        )
        .select_from(joined)
        .where(
            verdicts.c.place == literal_column("1"),
            _f.c.is_closed == literal_column("1"),
            _f.c.started_at >= bindparam("since"),
            _f.c.started_at < bindparam("until"),
            *(_f.c[name] == bindparam(name) for name in narrowed),
        )
        .group_by(func.coalesce(_f.c.subject, _f.c.conversation_id))
    )


def _answers(asked: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Each turn's verdicts that answer this, the newest in the first place; none is older than its conversation."""
    newest = func.row_number().over(partition_by=_v.c.turn_id, order_by=(_v.c.created_at.desc(), _v.c.id.desc()))
    return select(
        _v.c.conversation_id, _v.c.inclusion_probability, asked.label("answer"), newest.label("place")
    ).where(
        _v.c.tenant_id == bindparam("tenant_id"),
        _v.c.created_at >= bindparam("since"),
        _v.c.sample == literal_column("'routine'"),
        _v.c.replaced_at.is_(None),
        asked.is_not(None),
    )  # fmt: skip
