"""The digest: once a day or a week, what the agents did, told to the channels that get one.

It is a job, so it is written once in a cluster; the message is stored in one batch with the run's page and told by the
same delivery as alerts. No word of a conversation is in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from handrail.core.clock import as_datetime
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.flows.dashboard import dashboard_body
from handrail.flows.objectives import objectives_of_tenant
from handrail.flows.periods import DAY, WEEK_DAYS, whole_days
from handrail.flows.scorecard_body import objectives_body
from handrail.flows.services import Services
from handrail.insight.alerts import SEVERAL, Message
from handrail.insight.scorecard.wording import objectives, said
from handrail.reports.filters import Filters
from handrail.reports.series import active_tenants

MOST_REASONS = 5
MOST_TENANTS_APART = 20


async def digest_page(services: Services, task: Task, _state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the digest of every tenant in which something happened; one that is asked for by hand is always written."""
    days = services.digest_days
    if (period := whole_days(task, days, services.clock.micros())) is None:
        return {"done": True, "report": {}}
    since, until = period
    tenants = await active_tenants(services.db, since)
    if len(tenants) > MOST_TENANTS_APART:
        message = await digest_of_many(services, tenants, until, days)
        async with services.db.batch() as batch:
            services.alerts.digest(batch, message)
        return {"done": True, "report": {DEPLOYMENT: {"digests": 1, "tenants": len(tenants)}}}
    for tenant_id in tenants:
        message = await digest_of(services, tenant_id, until, days)
        async with services.db.batch() as batch:
            services.alerts.digest(batch, message)
    return {"done": True, "report": {tenant_id: {"digests": 1} for tenant_id in tenants}}


async def digest_of(services: Services, tenant_id: str, until: int, days: int) -> Message:
    """The message of the whole days before `until`, in microseconds."""
    since = until - days * DAY
    now = await dashboard_body(services, Filters(tenant_id, since, until))
    before = await dashboard_body(services, Filters(tenant_id, since - days * DAY, since))
    first, last = as_datetime(since).date(), as_datetime(until - 1).date()
    title = f"Agents of {tenant_id}, {first}" + (f" to {last}" if days > 1 else "")
    console = services.alerts.places.console
    standing = [objectives_body(each) for each in await objectives_of_tenant(services, tenant_id, until)]
    return Message("digest", tenant_id, f"digest:{first}:{days}", title, text_of(now, before, days, standing, console))


async def digest_of_many(services: Services, tenants: Sequence[str], until: int, days: int) -> Message:
    """One message where hundreds would be sent: a line for each of the tenants with the most conversations."""
    since = until - days * DAY
    bodies = [(await dashboard_body(services, Filters(each, since, until)), each) for each in tenants]
    bodies.sort(key=lambda one: (-one[0]["conversations"], one[1]))
    lines = [
        f"{tenant}: {body['conversations']} conversations, {failed['count']} of {failed['n']} turns failed"
        for body, tenant in bodies[:MOST_TENANTS_APART]
        for failed in [body["errors"]]
    ]
    rest = sum(body["conversations"] for body, _ in bodies[MOST_TENANTS_APART:])
    lines.append(f"and {len(bodies) - MOST_TENANTS_APART} more tenants with {rest} conversations")
    first, last = as_datetime(since).date(), as_datetime(until - 1).date()
    title = f"Agents of {len(tenants)} tenants, {first}" + (f" to {last}" if days > 1 else "")
    return Message("digest", SEVERAL, f"digest:{first}:{days}", title, "\n".join(lines))


def text_of(
    now: Mapping[str, Any],
    before: Mapping[str, Any],
    days: int,
    standing: Sequence[Mapping[str, Any]] = (),
    console: str = "",
) -> str:
    """The digest as plain text, a line a figure, each with what it rests on."""
    name = "week" if days == WEEK_DAYS else "day" if days == 1 else f"{days} days"
    earlier = before["conversations"]
    lines = [
        f"Conversations: {now['conversations']} ({now['pending']} pending; the {name} before: {earlier})",
        _share("Resolved by the agent", now, before, "resolved", "autonomous_resolution"),
        _share("Escalated", now, before, "escalated", "escalation_rate"),
        _share("Turns that failed", now, before, "errors", "error_rate", of="turns"),
        f"Whole answer: {_seconds(now['p50_ms'])} for half of the turns, {_seconds(now['p95_ms'])} for 95 of 100",
        *(_latency(name, each) for name, each in now["latency"].items()),
        *(f"{each['agent']}: {line}" for each in standing for line in objectives(each)),
        _cost(now),
        "Satisfaction: not measured yet"
        if now["csat"]["value"] is None
        else f"Satisfaction: {now['csat']['value']:.2f} of 5 from {now['csat']['n']} answers",
        _reasons("Escalated because", now["escalation_reasons"]),
        _reasons("Errors", now["error_types"]),
        f"Dashboard: {console}/console/dashboard?range={'24h' if days == 1 else '7d'}",
        "Shares count conversations one by one, the scorecard counts users. Before and after is not cause and effect.",
    ]
    return "\n".join(line for line in lines if line)


def _share(
    name: str, now: Mapping[str, Any], before: Mapping[str, Any], key: str, measure: str, of: str = "closed"
) -> str:
    found, earlier = now[key], before[key]
    if found["value"] is None:
        return f"{name}: not measured yet"
    if not found["is_enough"]:
        return f"{name}: {found['count']} of {found['n']} {of}"
    compared = f"; before: {earlier['value'] * 100:.1f} %" if earlier["is_enough"] else ""
    kept = ((now["baseline"] or {}).get("measures") or {}).get(measure)
    if kept is not None and kept["value"] is not None:
        compared += f"; baseline: {kept['value'] * 100:.1f} %"
    return f"{name}: {said(found, 'share', '')} of {found['n']} {of}{compared}"


def _latency(name: str, each: Mapping[str, Any]) -> str:
    if not each["turns"]:
        return ""
    parts = [f"p{part} {_seconds(each[f'p{part}_ms'])}" for part in (50, 95, 99)]
    return f"Latency of {each['turns']} {name} turns: {', '.join(parts)}"


def _cost(now: Mapping[str, Any]) -> str:
    unpriced = f"; {now['unpriced_calls']} model calls have no known price" if now["unpriced_calls"] else ""
    if now["cost_micros"] is None:
        return f"Cost: not known{unpriced}"
    each = now["cost_per_conversation_micros"]
    per = "" if each is None else f", {each / 1e6:.4f} USD a closed conversation"
    return f"Cost: {now['cost_micros'] / 1e6:.2f} USD{per}{unpriced}"


def _seconds(milliseconds: float | None) -> str:
    return "no data" if milliseconds is None else f"{milliseconds / 1000:.2f} s"


def _reasons(name: str, found: Any) -> str:
    if not found:
        return ""
    return f"{name}: " + ", ".join(f"{each['reason']} ({each['count']})" for each in found[:MOST_REASONS])
