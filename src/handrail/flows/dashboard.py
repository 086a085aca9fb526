"""The business dashboard: what the agents did in a time, as one body for the page, the exports and the digest.

Shares count conversations one by one here, so that they come from sums in milliseconds; the scorecard counts users.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from handrail.core.clock import iso
from handrail.core.errors import HandrailError, UsageError
from handrail.core.money import USD
from handrail.core.principal import Principal
from handrail.flows.alert_desk import desk_of
from handrail.flows.ranges import DAY, begun
from handrail.flows.scorecard import shown_in
from handrail.flows.scorecard_body import measures_body
from handrail.flows.services import Services
from handrail.flows.spending import budgets_of
from handrail.flows.switches import breakers_of
from handrail.insight.scorecard import FEWEST, NOTHING, BaselineStore, Estimate, Sums, share
from handrail.reports.filters import NARROWS, Filters
from handrail.reports.instructions import Instructions, by_instructions
from handrail.reports.reviews import verified_hits
from handrail.reports.series import Bucket, Conversations, Group, Point, Turns, overview, reasons

Body = dict[str, Any]
MICROS = 1_000_000
DEFAULT_RANGE = "7d"
TABLES = ("time", "instructions")
CLASSES = ("simple", "medium", "complex")
# Which field of a body says what an amount is in.
AMOUNTS: Mapping[str, str] = {"cost_micros": "currency", "value_micros": "value_currency"}


def filters_of(tenant_id: str, now: int, given: Mapping[str, str]) -> Filters:
    """What the parameters of an address ask for.

    Raises:
        UsageError: a range that is not among `RANGES`.
    """
    narrowed = {each: given.get(each) or None for each in NARROWS}
    return Filters(tenant_id, begun(given.get("range") or DEFAULT_RANGE, now), now, **narrowed)


async def dashboard_body(services: Services, filters: Filters) -> Body:
    """Sums, shares and lines of a time; by the hour up to three days, else by the day."""
    db = services.db
    bucket: Bucket = "hour" if filters.until - filters.since <= 3 * DAY else "day"
    found, why, (wrong, verified), baseline = await asyncio.gather(
        overview(db, filters, bucket), reasons(db, filters), verified_hits(db, filters), _baseline(services, filters)
    )
    instructions = await by_instructions(db, filters.tenant_id, found.releases)
    return {
        "object": "dashboard",
        "since": iso(filters.since),
        "until": iso(filters.until),
        "bucket": bucket,
        **{name: getattr(filters, name) for name in NARROWS},
        "fewest": FEWEST,
        "note": "Shares count conversations one by one; the scorecard counts users.",
        **_sums(found.summary.turns, found.summary.conversations),
        "false_cache_hits": _share(wrong, verified),
        "currency": USD,
        "value_currency": services.feedback_rules.currency,
        "baseline": baseline,
        "latency": {name: _latency(found.summary.turns, name) for name in CLASSES},
        "series": [_point(each) for each in found.series],
        "intents": [_group(each) for each in found.intents],
        "instructions": [_instructions(each) for each in instructions],
        "escalation_reasons": [asdict(each) for each in why["escalation"]],
        "error_types": [asdict(each) for each in why["error"]],
        "guardrails": [asdict(each) for each in why["guardrail"]],
    }


async def _baseline(services: Services, filters: Filters) -> Body | None:
    """What was before, of the agent that is asked for or the only one; a part of its conversations has no baseline."""
    if filters.release_id or filters.intent or filters.channel:
        return None
    answering = await services.releases.agents(filters.tenant_id)
    agents = [each for each in answering if filters.agent in (None, each.name)]
    if len(agents) != 1 or not (kept := await BaselineStore(services.db).list(filters.tenant_id, agents[0].name)):
        return None
    try:
        release = await services.releases.load(filters.tenant_id, agents[0].stable_release_id or "")
    except HandrailError:
        # The dashboard is looked at most when something is broken; the scorecard says what.
        return None
    newest = kept[0]
    return {
        "agent": newest.agent,
        "version": newest.version,
        "note": newest.note,
        "currency": newest.currency or shown_in(release.config.success),
        "measures": measures_body(newest),
    }


async def now_body(services: Services, principal: Principal, *, alerts: bool = False, budgets: bool = False) -> Body:
    """What waits and what is broken at this moment; what fires and what is spent for those who may know that."""
    firing = (await desk_of(services, principal).list(state="firing"))["data"] if alerts else None
    pending = await services.approvals.list_pending(principal.tenant_id, limit=1000)
    oldest = min((each.created_at for each in pending), default=None)
    opened = [each for each in breakers_of(services, principal) if each["state"] != "closed"]
    return {
        "approvals_waiting": len(pending),
        "oldest_approval_seconds": None if oldest is None else (services.clock.micros() - oldest) // MICROS,
        "breakers_open": [each["key"] for each in opened],
        "turns_running": len(services.running),
        "alerts_firing": None if firing is None else [each["rule"] for each in firing],
        "budgets": [each.body() for each in await budgets_of(services, principal)] if budgets else [],
    }


def _instructions(each: Instructions) -> Body:
    names = {"hash": each.hash, "agent": each.agent, "releases": list(each.releases)}
    return names | _sums(each.turns, each.conversations)


def _sums(turns: Turns, conversations: Conversations) -> Body:
    return {
        "turns": turns.turns,
        "conversations": conversations.conversations,
        "pending": conversations.pending,
        "closed": conversations.closed,
        "resolved": _share(conversations.resolved, conversations.closed),
        "completed": _share(conversations.completed, conversations.closed),
        "escalated": _share(conversations.escalated, conversations.closed),
        "errors": _share(turns.failed, turns.turns),
        "tool_failures": _share(turns.tool_failures, turns.tool_calls),
        "p50_ms": _milliseconds(turns, 0.5),
        "p95_ms": _milliseconds(turns, 0.95),
        "cost_micros": turns.cost_micros if turns.model_calls > turns.unpriced_calls else None,
        "unpriced_calls": turns.unpriced_calls,
        "cost_per_conversation_micros": _each(conversations.closed_cost_micros, conversations.closed),
        "cost_per_resolved_micros": _each(conversations.closed_cost_micros, conversations.resolved),
        "value_micros": conversations.value_micros,
        "csat": {
            "value": conversations.csat_sum / conversations.csat_count if conversations.csat_count else None,
            "n": conversations.csat_count,
        },
        "thumbs_up": _share(conversations.thumbs_up, conversations.thumbs_up + conversations.thumbs_down),
    }


def _point(each: Point) -> Body:
    return {"at": iso(each.starts_at), **_sums(each.turns, each.conversations)} | {
        f"p95_{name}_ms": _milliseconds(each.turns, 0.95, name) for name in CLASSES
    }


def _group(each: Group) -> Body:
    return {"intent": each.name or None, **_sums(each.turns, each.conversations)}


def _latency(turns: Turns, name: str) -> Body:
    return {f"p{int(part * 100)}_ms": _milliseconds(turns, part, name) for part in (0.5, 0.95, 0.99)} | {
        "turns": sum(turns.histogram(name).values())
    }


def _milliseconds(turns: Turns, part: float, name: str | None = None) -> float | None:
    found = turns.latency_micros(part, name)
    return None if found is None else round(found / 1000, 1)


def _each(micros: int, among: int) -> int | None:
    return round(micros / among) if among else None


def _share(x: int, n: int) -> Body:
    found: Estimate = share(Sums(n, n, x, x, x, n)) if n else NOTHING
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "count": x,
        "is_enough": found.is_enough,
    }


def rows_of(body: Mapping[str, Any], table: str) -> Sequence[Body]:
    """A table of a dashboard as flat rows, for a file: its lines by `time`, or what it says by `instructions`.

    Raises:
        UsageError: there is no such table.
    """
    if table == "time":
        return [{"time": each["at"]} | _flat(each, body) for each in body["series"]]
    if table == "instructions":
        return [
            {"instructions": each["hash"], "agent": each["agent"], "releases": " ".join(each["releases"])}
            | _flat(each, body)
            for each in body["instructions"]
        ]
    raise UsageError(f"table {table!r} is not known; use one of {', '.join(TABLES)}", param="table")


def _flat(each: Body, body: Mapping[str, Any]) -> Body:
    """The unit of an amount stands in the name of its column."""
    plain = {name: each[name] for name in ("turns", "conversations", "pending", "closed")}
    counts = {name: each[name]["count"] for name in ("resolved", "escalated")}
    cost, value = (f"{name}_{body[of].lower()}" for name, of in AMOUNTS.items())
    measured = {"p50_ms": each["p50_ms"], "p95_ms": each["p95_ms"], cost: each["cost_micros"]}
    measured |= {"unpriced_calls": each["unpriced_calls"], value: each["value_micros"]}
    thumbs = each["thumbs_up"]
    return {
        **plain, **counts, "failed_turns": each["errors"]["count"], **measured, "csat": each["csat"]["value"],
        "csat_answers": each["csat"]["n"], "thumbs_up": thumbs["count"], "thumbs_down": thumbs["n"] - thumbs["count"],
    }  # fmt: skip
