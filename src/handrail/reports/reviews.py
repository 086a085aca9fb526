"""What reviewers found of the turns of closed conversations, each weighed by how likely it was to be drawn.

Only the routine sample counts: turns that were picked because of something say nothing of the others. Of several
reviewers of one turn the newest word holds. Read-only.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Float, Select, Subquery, and_, bindparam, case, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.db import Database, Prepared, scoped
from handrail.insight.feedback.tables import cache_verification as _h
from handrail.insight.feedback.tables import review_verdict as _v
from handrail.insight.scorecard import Estimate, Sums, weighted, weighted_share
from handrail.insight.scorecard.facts import GROUNDING
from handrail.insight.scorecard.tables import conversation_fact as _f
from handrail.reports.filters import Filters
from handrail.reports.transcripts import guardrails_of
from handrail.serving.conversations.tables import turn as _t

# By measure: what the reviewer was asked.
_ASKED: Mapping[str, ColumnElement[Any]] = {
    "intent_accuracy": _v.c.intent_correct,
    "hallucination_rate": _v.c.hallucination,
}


async def reviewed(db: Database, filters: Filters) -> Mapping[str, Estimate]:
    """The measures that come from reviews; of one that nobody answered there is no value."""
    found = {key: await _estimate(db, key, filters) for key in _ASKED}
    return {**found, "grounding_precision": await _precision(db, filters)}


async def verified_hits(db: Database, filters: Filters) -> tuple[int, int]:
    """How many answers from the cache reviewers found wrong in that time, of how many they looked at; all agents'."""
    within = {"tenant_id": filters.tenant_id, "since": filters.since, "until": filters.until}
    row = (await db.scan(_VERIFIED, within))[0]
    return row["wrong"], row["looked_at"]


async def _precision(db: Database, filters: Filters) -> Estimate:
    """How often reviewers call made up what the check of answers found unsupported. Which turns those are is sealed
    with them, so it is not the database that picks them."""
    users: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for row in await db.scan(_tripped(filters.named), filters.parameters):
        if GROUNDING in guardrails_of(row["tripped"]):
            users[row["who"]].append((bool(row["answer"]), row["inclusion_probability"]))
    return weighted_share(users.values())


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
        .where(*_counted(verdicts, narrowed))
        .group_by(func.coalesce(_f.c.subject, _f.c.conversation_id))
    )


@cache
def _tripped(narrowed: tuple[str, ...]) -> Prepared:
    """The reviewed turns that tripped anything."""
    verdicts = _answers(_v.c.hallucination).subquery()
    joined = verdicts.join(
        _f, and_(_f.c.tenant_id == bindparam("tenant_id"), _f.c.conversation_id == verdicts.c.conversation_id)
    ).join(_t, _t.c.id == verdicts.c.turn_id)
    who = func.coalesce(_f.c.subject, _f.c.conversation_id).label("who")
    return Prepared(
        select(
            _t.c.id,
            _t.c.tenant_id,
            _t.c.conversation_id,
            _t.c.tripped,
            who,
            verdicts.c.answer,
            verdicts.c.inclusion_probability,
        )
        .select_from(joined)
        .where(_t.c.tripped.is_not(None), *_counted(verdicts, narrowed))
    )


def _counted(verdicts: Subquery, narrowed: Sequence[str]) -> Sequence[ColumnElement[bool]]:
    """The newest word on turns of closed conversations that the report is about."""
    return [
        verdicts.c.place == literal_column("1"),
        _f.c.is_closed == literal_column("1"),
        _f.c.started_at >= bindparam("since"),
        _f.c.started_at < bindparam("until"),
        *(_f.c[name] == bindparam(name) for name in narrowed),
    ]


_VERIFIED = Prepared(
    scoped(_h)
    .with_only_columns(
        func.count().label("looked_at"),
        func.count(case((_h.c.correct == literal_column("0"), 1))).label("wrong"),
    )
    .where(_h.c.replaced_at.is_(None), _h.c.created_at >= bindparam("since"), _h.c.created_at < bindparam("until"))
)


def _answers(asked: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """Each turn's verdicts that answer this, the newest in the first place; none is older than its conversation."""
    newest = func.row_number().over(partition_by=_v.c.turn_id, order_by=(_v.c.created_at.desc(), _v.c.id.desc()))
    return select(
        _v.c.conversation_id, _v.c.turn_id, _v.c.inclusion_probability, asked.label("answer"), newest.label("place")
    ).where(
        _v.c.tenant_id == bindparam("tenant_id"),
        _v.c.created_at >= bindparam("since"),
        _v.c.sample == literal_column("'routine'"),
        _v.c.replaced_at.is_(None),
        asked.is_not(None),
    )  # fmt: skip
