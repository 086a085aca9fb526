"""What the rules of alerts look at, read from the tables of many rooms; the same on both databases."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Text, and_, bindparam, case, func, literal_column, or_, select
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.core.clock import as_datetime
from handrail.db import Database, Prepared
from handrail.db.jobs.tables import job_run as _j
from handrail.delivery.releases.tables import agent as _g
from handrail.insight.alerts import WINDOWS, ApprovalQueue, Counted, FailedJob, PrincipalActivity, Quality, Traffic
from handrail.insight.alerts.signals import MEASURES, Measure
from handrail.insight.feedback.tables import review_verdict as _v
from handrail.insight.scorecard.facts import GROUNDING
from handrail.insight.scorecard.histogram import slower_than
from handrail.insight.scorecard.tables import conversation_fact as _f
from handrail.insight.scorecard.tables import conversation_rollup as _c
from handrail.insight.scorecard.tables import fact_change as _x
from handrail.insight.scorecard.tables import reason_rollup as _r
from handrail.insight.scorecard.tables import turn_rollup as _t
from handrail.oversight.approvals.tables import approval as _a

HOUR = 3600 * 1_000_000
DAY = 24 * HOUR
HISTORY_DAYS = 14
MOST_PRINCIPALS = 5000
MOST_SUSPECTS = 200


def _since(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger)


def _windowed(column: ColumnElement[Any], starts_at: ColumnElement[int]) -> list[ColumnElement[Any]]:
    """The sum within each window."""
    return [
        func.sum(case((starts_at >= _since(f"w{each}"), column), else_=0)).label(f"{column.key}{each}")
        for each in WINDOWS
    ]


# From the few agents to their rows: the keys of all sums begin with the tenant.
def _of_agents(table: Any, grain: str, since: str) -> Any:
    return _g.join(
        table,
        and_(
            table.c.tenant_id == _g.c.tenant_id,
            table.c.grain == grain,
            table.c.starts_at >= _since(since),
            table.c.agent == _g.c.name,
        ),
    )


_AGENTS = Prepared(select(_g.c.tenant_id, _g.c.name, _g.c.stable_release_id))
_TURNS = Prepared(
    select(_g.c.tenant_id, _g.c.name, *_windowed(_t.c.turns, _t.c.starts_at), *_windowed(_t.c.failed, _t.c.starts_at))
    .select_from(_of_agents(_t, "minute", "since"))
    .group_by(_g.c.tenant_id, _g.c.name)
)
_TIMED = Prepared(
    select(_g.c.tenant_id, _g.c.name, _t.c.starts_at, _t.c.latency_class, _t.c.latencies)
    .select_from(_of_agents(_t, "minute", "since"))
    .where(_t.c.latencies != literal_column("'{}'"), _t.c.latency_class != "")
)
_SAME_HOURS = Prepared(
    select(_g.c.tenant_id, _g.c.name, _t.c.starts_at, func.sum(_t.c.turns).label("turns"))
    .select_from(_of_agents(_t, "hour", "since"))
    .where(
        (_t.c.starts_at // HOUR % 24).in_([bindparam("this", type_=BigInteger), bindparam("before", type_=BigInteger)])
    )
    .group_by(_g.c.tenant_id, _g.c.name, _t.c.starts_at)
)
_FIRST_DAYS = Prepared(
    select(_g.c.tenant_id, _g.c.name, func.min(_t.c.starts_at).label("first"))
    .select_from(_of_agents(_t, "day", "since"))
    .group_by(_g.c.tenant_id, _g.c.name)
)
_VOICES = ("thumbs_up", "thumbs_down", "csat_sum", "csat_count")
_FEEDBACK = Prepared(
    select(
        _g.c.tenant_id,
        _g.c.name,
        *(
            func.sum(case(((_c.c.starts_at >= _since("day")) == is_day, _c.c[name]), else_=0)).label(f"{name}_{label}")
            for name in _VOICES
            for is_day, label in ((True, "day"), (False, "week"))
        ),
    )
    .select_from(_of_agents(_c, "hour", "since"))
    .group_by(_g.c.tenant_id, _g.c.name)
)


def _both(starts_at: ColumnElement[int], counted: Mapping[str, ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """Each sum of the last day, and of the week before."""
    return [
        func.sum(case(((starts_at >= _since("day")) == is_day, column), else_=0)).label(f"{name}_{when}")
        for name, column in counted.items()
        for is_day, when in ((True, "day"), (False, "week"))
    ]


_IS_BAD = or_(_v.c.hallucination == 1, _v.c.intent_correct == 0, _v.c.action_correct == 0, _v.c.resolved == 0)
_REVIEWED = Prepared(
    select(
        _g.c.tenant_id,
        _g.c.name,
        *_both(
            _v.c.created_at,
            {
                "count": literal_column("1"),
                "bad": case((_IS_BAD, 1), else_=0),
            },
        ),
    )
    .select_from(
        _g.join(_v, and_(_v.c.tenant_id == _g.c.tenant_id, _v.c.created_at >= _since("since"), _v.c.agent == _g.c.name))
    )
    .where(_v.c.sample == "routine", _v.c.replaced_at.is_(None))
    .group_by(_g.c.tenant_id, _g.c.name)
)
_ANSWERED = Prepared(
    select(_g.c.tenant_id, _g.c.name, *_both(_t.c.starts_at, {"count": _t.c.turns}))
    .select_from(_of_agents(_t, "hour", "since"))
    .group_by(_g.c.tenant_id, _g.c.name)
)
_CLAIMED = Prepared(
    select(_g.c.tenant_id, _g.c.name, *_both(_r.c.starts_at, {"bad": _r.c["count"]}))
    .select_from(_of_agents(_r, "hour", "since"))
    .where(_r.c.kind == "guardrail", _r.c.reason == GROUNDING)
    .group_by(_g.c.tenant_id, _g.c.name)
)
_ACTIVE = Prepared(
    select(
        _f.c.subject,
        func.sum(_f.c.turns).label("turns"),
        func.sum(_f.c.refused).label("refusals"),
        func.sum(_f.c.tripped).label("tripped"),
        func.sum(_f.c.side_effects).label("side_effects"),
    )
    .where(
        _f.c.tenant_id == bindparam("tenant_id"),
        _f.c.last_at >= _since("since"),
        _f.c.subject.is_not(None),
    )
    .group_by(_f.c.subject)
    .order_by(func.sum(_f.c.turns).desc())
    .limit(MOST_PRINCIPALS)
)
_USUAL = Prepared(
    select(
        func.count(func.distinct(_f.c.last_at // HOUR)).label("hours"),
        func.coalesce(func.sum(_f.c.turns), 0).label("turns"),
        func.coalesce(func.sum(_f.c.refused), 0).label("refusals"),
        func.coalesce(func.sum(_f.c.tripped), 0).label("tripped"),
        func.coalesce(func.sum(_f.c.side_effects), 0).label("side_effects"),
    ).where(
        _f.c.tenant_id == bindparam("tenant_id"),
        _f.c.subject == bindparam("subject", type_=Text),
        _f.c.started_at >= _since("since"),
        _f.c.last_at < _since("until"),
    )
)
_WAITING = Prepared(
    select(_a.c.tenant_id, _a.c.agent, func.count().label("waiting"), func.min(_a.c.created_at).label("oldest"))
    .where(_a.c.status == "pending", _a.c.expires_at > _since("now"))
    .group_by(_a.c.tenant_id, _a.c.agent)
)
_NEWEST_ENDED = (
    select(_j.c.tenant_id, _j.c.job, func.max(_j.c.ended_at).label("ended_at"))
    .where(_j.c.ended_at >= _since("since"))
    .group_by(_j.c.tenant_id, _j.c.job)
    .subquery()
)
_FAILED = Prepared(
    select(_j.c.tenant_id, _j.c.job, _j.c.error_code, _j.c.id)
    .join(
        _NEWEST_ENDED,
        and_(
            _j.c.tenant_id == _NEWEST_ENDED.c.tenant_id,
            _j.c.job == _NEWEST_ENDED.c.job,
            _j.c.ended_at == _NEWEST_ENDED.c.ended_at,
        ),
    )
    .where(_j.c.status == "failed")
)
# What can't be counted is put off: its time lies ahead.
_UNCOUNTED = Prepared(select(func.min(_x.c.created_at).label("oldest")))

Key = tuple[str, str]
History = Mapping[Key, Sequence[float]]


async def agents(db: Database) -> Mapping[Key, str | None]:
    """Every agent with the release that answers for it."""
    return {_key(row): row["stable_release_id"] for row in await db.scan(_AGENTS, {})}


async def traffic(
    db: Database, at: int, *, limits: Mapping[Key, Mapping[str, float]]
) -> Mapping[Key, Mapping[int, Traffic]]:
    """The turns of each of these agents by window; slow are those beyond its limits by latency class, in seconds."""
    windows = {f"w{each}": at - each * 1_000_000 for each in WINDOWS}
    since = {"since": at - max(WINDOWS) * 1_000_000, **windows}
    turns = {_key(row): row for row in await db.scan(_TURNS, since)}
    timed = _timed(await db.scan(_TIMED, since), at, limits)
    return {
        key: {
            each: Traffic(
                _of(turns.get(key), f"turns{each}"),
                _of(turns.get(key), f"failed{each}"),
                timed.get((key, each), {}),
            )
            for each in WINDOWS
        }
        for key in limits
    }


def _timed(
    rows: Sequence[Mapping[str, Any]], at: int, limits: Mapping[Key, Mapping[str, float]]
) -> Mapping[tuple[Key, int], Mapping[str, Counted]]:
    """By agent and window, the turns of each class that has a limit; slower than its bucket is slow."""
    found: dict[tuple[Key, int], dict[str, Counted]] = defaultdict(dict)
    for row in rows:
        key, name = _key(row), row["latency_class"]
        limit = limits.get(key, {}).get(name)
        if limit is None:
            continue
        buckets = {int(each): turns for each, turns in json.loads(row["latencies"]).items()}
        slow = slower_than(limit, buckets)
        for window in WINDOWS:
            if row["starts_at"] >= at - window * 1_000_000:
                known = found[key, window].get(name, Counted())
                found[key, window][name] = Counted(known.turns + sum(buckets.values()), known.bad + slow)
    return found


async def same_hours(db: Database, at: int) -> History:
    """Of each agent: turns in the hour that ended at this time of day, on every day before today that it has seen."""
    now = as_datetime(at)
    midnight = at - at % DAY
    since = midnight - HISTORY_DAYS * DAY
    part = (at % HOUR) / HOUR
    hours: dict[Key, dict[int, int]] = defaultdict(dict)
    wanted = {"since": since - HOUR, "this": now.hour, "before": (now.hour - 1) % 24}
    for row in await db.scan(_SAME_HOURS, wanted):
        hours[_key(row)][row["starts_at"]] = int(row["turns"])
    known: dict[Key, list[float]] = {}
    for row in await db.scan(_FIRST_DAYS, {"since": since}):
        mine, begins = hours.get(_key(row), {}), at - at % HOUR
        days = range((begins - row["first"]) // DAY, 0, -1)
        known[_key(row)] = [
            mine.get(begins - day * DAY, 0) * part + mine.get(begins - day * DAY - HOUR, 0) * (1 - part) for day in days
        ]
    return known


async def tenants(db: Database) -> set[str]:
    """All that have an agent."""
    return {tenant_id for tenant_id, _ in await agents(db)}


async def quality(db: Database, at: int) -> list[Quality]:
    """What users and reviewers said and answers claimed, in the last day and in the week before."""
    times = {"since": at - 8 * DAY, "day": at - DAY}
    found = [_quality(row, row, "verdicts") for row in await db.scan(_REVIEWED, times)]
    answered = {_key(row): row for row in await db.scan(_ANSWERED, times)}
    claimed = {_key(row): row for row in await db.scan(_CLAIMED, times)}
    # Where nothing was ever claimed there may be no such check.
    found += [_quality(row, answered[key], "unsupported_claims") for key, row in claimed.items() if key in answered]
    for row in await db.scan(_FEEDBACK, times):
        key = _key(row)
        (up, down, total, count), (old_up, old_down, old_total, old_count) = (
            [int(row[f"{name}_{when}"] or 0) for name in _VOICES] for when in ("day", "week")
        )
        found.append(Quality(*key, "thumbs_down", down, up + down, old_down, old_up + old_down))
        # From 1 to 5, read as a share: what is bounded spreads no wider than yes and no.
        dissatisfied = [(5 * n - total_) / 4 for n, total_ in ((count, total), (old_count, old_total))]
        found.append(Quality(*key, "csat", dissatisfied[0], count, dissatisfied[1], old_count))
    return found


def _quality(bad: Mapping[str, Any], count: Mapping[str, Any], measure: str) -> Quality:
    numbers = [_of(row, f"{name}_{when}") for when in ("day", "week") for name, row in (("bad", bad), ("count", count))]
    return Quality(*_key(bad), measure, *numbers)


async def principals(
    db: Database, at: int, tenant_id: str, least: Mapping[Measure, int]
) -> list[tuple[str, PrincipalActivity]]:
    """Who was there in the last hour, by subject; with their usual hour of the week before for those who did so much
    of anything that it matters."""
    rows = await db.scan(_ACTIVE, {"tenant_id": tenant_id, "since": at - HOUR})
    found: list[tuple[str, PrincipalActivity]] = []
    suspects = 0
    for row in rows:
        hour: dict[Measure, int] = {measure: int(row[measure]) for measure in MEASURES}
        usual: Mapping[Measure, float] = {}
        hours = 0
        if suspects < MOST_SUSPECTS and any(hour[measure] >= least[measure] for measure in MEASURES):
            suspects += 1
            usual, hours = await _usual(db, at, tenant_id, row["subject"])
        found.append((row["subject"], PrincipalActivity(tenant_id, "", hour, usual, hours)))
    return found


async def _usual(db: Database, at: int, tenant_id: str, subject: str) -> tuple[Mapping[Measure, float], int]:
    wanted = {"tenant_id": tenant_id, "subject": subject, "since": at - 8 * DAY, "until": at - HOUR}
    row = (await db.scan(_USUAL, wanted))[0]
    hours = int(row["hours"])
    return {measure: int(row[measure]) / max(hours, 1) for measure in MEASURES}, hours


async def approvals(db: Database, at: int) -> list[ApprovalQueue]:
    """What waits for people; an agent for which nothing waits any more is not told of."""
    rows = await db.scan(_WAITING, {"now": at})
    return [
        ApprovalQueue(row["tenant_id"], row["agent"], row["waiting"], (at - row["oldest"]) / 1_000_000) for row in rows
    ]


async def failed_jobs(db: Database, at: int) -> list[FailedJob]:
    """Jobs whose newest run of the last two days failed."""
    rows = await db.scan(_FAILED, {"since": at - 2 * DAY})
    return [FailedJob(row["tenant_id"], row["job"], row["error_code"] or "unknown", row["id"]) for row in rows]


async def uncounted_seconds(db: Database, at: int) -> float:
    """For how long the oldest change has waited to be counted."""
    row = await db.fetch_one(_UNCOUNTED, {})
    oldest = None if row is None else row["oldest"]
    return 0.0 if oldest is None else max(0.0, (at - oldest) / 1_000_000)


def _key(row: Mapping[str, Any]) -> Key:
    return row["tenant_id"], row["name"]


def _of(row: Mapping[str, Any] | None, name: str) -> int:
    return 0 if row is None else int(row[name] or 0)
