"""What models cost in a time, as one body for the page, the API and the files.

Costs are in US dollars, as models are priced; values are in the currency of the deployment's value events. The two are
netted only where it is known what one is in the other.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from handrail.core.clock import iso
from handrail.core.errors import UsageError
from handrail.core.money import USD, in_usd
from handrail.core.principal import Principal
from handrail.flows.alert_desk import desk_of
from handrail.flows.dashboard import DAY
from handrail.flows.services import Services
from handrail.flows.spending import budgets_of
from handrail.insight.feedback import FeedbackRules
from handrail.reports.filters import NARROWS, Filters
from handrail.reports.instructions import hashes
from handrail.reports.ledger import Calls, Ledger, Line, ledger, spent
from handrail.reports.series import Bucket, Conversations

Body = dict[str, Any]
# The tables that there are as files, and what their lines are told apart by.
TABLES: Mapping[str, tuple[str, ...]] = {
    "time": ("at",),
    "models": ("provider", "model"),
    "agents": ("agent",),
    "releases": ("release_id", "agent", "instructions"),
    "intents": ("intent",),
}
BUDGET_RULES = ("budget_spent", "budget_forecast")


async def costs_body(services: Services, filters: Filters) -> Body:
    """Sums and lines of a time; by the hour up to three days, else by the day."""
    db = services.db
    bucket: Bucket = "hour" if filters.until - filters.since <= 3 * DAY else "day"
    found, before = await asyncio.gather(ledger(db, filters, bucket), spent(db, filters.before))
    texts = await hashes(db, filters.tenant_id, [each.names[0] for each in found.releases])
    return {
        "object": "costs",
        "since": iso(filters.since),
        "until": iso(filters.until),
        "bucket": bucket,
        **{name: getattr(filters, name) for name in NARROWS},
        "currency": USD,
        **_sums(found.total),
        "before": _sums(before),
        "conversations": _conversations(found.conversations),
        "value": _value(found.conversations, services.feedback_rules),
        "series": [{"at": iso(at), **_sums(calls)} for at, calls in found.series],
        "models": [_named(each, "provider", "model") for each in found.models],
        "agents": [_named(each, "agent") for each in found.agents],
        "releases": [
            _named(each, "release_id", "agent") | {"instructions": texts.get(each.names[0])} for each in found.releases
        ],
        "intents": [{**_named(each, "intent"), "intent": each.names[0] or None} for each in found.intents],
        "unpriced": _unpriced(found),
    }


async def budgets_now(services: Services, principal: Principal, *, alerts: bool) -> Sequence[Body]:
    """How each budget stands, with the alerts of it that fire for those who may know.

    Raises:
        PermissionDenied: not an operator or admin.
    """
    firing: list[Body] = []
    if alerts:
        desk = desk_of(services, principal)
        firing = [each for rule in BUDGET_RULES for each in (await desk.list(state="firing", rule=rule))["data"]]
    return [
        each.body()
        | {
            "alerts": [
                {"id": one["id"], "rule": one["rule"]}
                for one in firing
                if one["labels"].get("budget") == each.budget.name
            ]
        }
        for each in await budgets_of(services, principal)
    ]


def rows_of(body: Mapping[str, Any], table: str) -> Sequence[Body]:
    """A table as flat rows, for a file; the unit of a cost stands in the name of its column.

    Raises:
        UsageError: there is no such table.
    """
    if table not in TABLES:
        raise UsageError(f"table {table!r} is not known; use one of {', '.join(TABLES)}", param="table")
    names = TABLES[table]
    lines = body["series" if table == "time" else table]
    return [
        {("time" if name == "at" else name): each[name] for name in names}
        | {name: each[name] for name in ("calls", "input_tokens", "output_tokens", "cached_tokens")}
        | {f"cost_micros_{body['currency'].lower()}": each["cost_micros"], "unpriced_calls": each["unpriced_calls"]}
        for each in lines
    ]


def _sums(calls: Calls) -> Body:
    """Where no cost is known it is null, which is not nothing."""
    is_known = calls.calls > calls.unpriced_calls or not calls.calls
    return {
        "calls": calls.calls,
        "input_tokens": calls.input_tokens,
        "output_tokens": calls.output_tokens,
        "cached_tokens": calls.cached_tokens,
        "cost_micros": calls.cost_micros if is_known else None,
        "unpriced_calls": calls.unpriced_calls,
    }


def _named(line: Line, *names: str) -> Body:
    return {**dict(zip(names, line.names, strict=True)), **_sums(line.calls)}


def _unpriced(found: Ledger) -> list[Body]:
    """Calls without a known cost, by model and why; the most frequent first."""
    lines = [
        {"provider": each.names[0], "model": each.names[1], "reason": why, "calls": count}
        for each in found.models
        for why, count in each.calls.unpriced.items()
    ]
    return sorted(lines, key=lambda each: (-each["calls"], each["provider"], each["model"], each["reason"]))


def _conversations(found: Conversations) -> Body:
    return {
        "began": found.conversations,
        "pending": found.pending,
        "closed": found.closed,
        "resolved": found.resolved,
        "cost_per_conversation_micros": _each(found, found.closed),
        "cost_per_resolved_micros": _each(found, found.resolved),
        "unpriced_calls": found.unpriced_calls,
    }


def _each(found: Conversations, among: int) -> int | None:
    """None where there are none, or where nothing is known but that something was called."""
    if not among or (found.unpriced_calls and not found.closed_cost_micros):
        return None
    return round(found.closed_cost_micros / among)


def _value(found: Conversations, rules: FeedbackRules) -> Body:
    """What the conversations that began in this time were worth, and that less what they cost, where it can be told."""
    rate = in_usd(rules.currency, rules.usd)
    net = None if rate is None else round(found.value_micros * rate) - found.cost_micros
    return {
        "value_micros": found.value_micros,
        "currency": rules.currency,
        "net_micros": net if found.value_micros else None,
        "not_comparable": None if rate is not None else rules.not_comparable,
    }
