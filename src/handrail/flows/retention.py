"""What is kept no longer is deleted: page by page, and reported by tenant."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handrail.core.jobs import DEPLOYMENT, Task
from handrail.db import Conflict, Expiry
from handrail.flows.background import KeptDays
from handrail.flows.forgetting import forget_conversation
from handrail.flows.kept import unbounded
from handrail.flows.services import Services
from handrail.insight.costs import OLD_USAGE
from handrail.insight.traces import OLD_TRACES
from handrail.oversight.approvals import OLD_DELEGATIONS
from handrail.protection.auth import OLD_KEYS, OLD_LINKS, OLD_SESSIONS
from handrail.serving.resilience import OLD_SWITCHES

DAY_MICROS = 24 * 3600 * 1_000_000
PAGE = 100
State = Mapping[str, Any]


async def sweep_keys(services: Services, _task: Task, _state: State) -> State:
    """Idempotency keys are good for a day."""
    await services.conversations.idempotency.sweep(at=services.clock.micros())
    return {"done": True}


async def sweep_runs(services: Services, _task: Task, state: State) -> State:
    """The rows of the outbox, of runs, of dead processes and the engine's own."""
    background, days = services.background, services.background.kept.jobs
    forgotten = await background.engine.forget_finished(days=days)
    total = state.get("forgotten", 0) + forgotten
    if forgotten:
        return {"forgotten": total}
    async with services.db.batch(long=True) as batch:
        background.outbox.forget_sent(batch, days=days)
        background.runs.forget_ended(batch, days=days)
        background.executors.forget_dead(batch)
        services.alerts.store.forget(batch, days=background.kept.alerts)
    return {"done": True, "report": {DEPLOYMENT: {"engine_rows": total}}}


async def forget_page(services: Services, _task: Task, state: State) -> State:
    """A hundred conversations at a time, then what stays when its conversation does, then a thousand rows at a time."""
    now = state.get("at") or services.clock.micros()
    kept, report = services.background.kept, dict(state.get("report", {}))
    if kept.conversations is not None and not state.get("conversations_done"):
        before = now - kept.conversations * DAY_MICROS
        after, deleted = await _forget_conversations(services, before, state.get("after", ""))
        if after is None:
            async with services.db.batch(long=True) as batch:
                services.background.feedback.delete_verifications(batch, before=before)
        _add(report, "conversations", deleted)
        return {"at": now, "after": after, "report": report, "conversations_done": after is None}
    rows = [each for each in _ROWS if each.days(kept) is not None]
    if (place := state.get("place", 0)) < len(rows):
        each = rows[place]
        deleted = await each.expiry.forget(services.db, before=now - (each.days(kept) or 0) * DAY_MICROS)
        _add(report, each.what, deleted)
        return {"at": now, "conversations_done": True, "place": place + (not deleted), "report": report}
    await _forget_escalations(services, now, report)
    await _forget_approvals(services, now, report)
    await _forget_facts(services, now, report)
    await _forget_exports(services, now, report)
    if for_good := unbounded(kept):
        report[DEPLOYMENT] = {**report.get(DEPLOYMENT, {}), "kept_for_good": ", ".join(for_good)}
    return {"done": True, "report": report}


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that go by themselves, `kept` being the setting; without one they have an end of their own."""

    what: str
    kept: str | None
    expiry: Expiry

    def days(self, kept: KeptDays) -> int | None:
        return 0 if self.kept is None else getattr(kept, self.kept)


_ROWS = (
    _Rows("sessions", None, OLD_SESSIONS),
    _Rows("usage", "usage", OLD_USAGE),
    _Rows("traces", "traces", OLD_TRACES),
    _Rows("keys", "keys", OLD_KEYS),
    _Rows("links", "keys", OLD_LINKS),
    _Rows("switches", "switches", OLD_SWITCHES),
    _Rows("delegations", "approvals", OLD_DELEGATIONS),
)


async def _forget_exports(services: Services, now: int, report: dict[str, Any]) -> None:
    background = services.background
    if background.kept.exports is None:
        return
    # The files' times are the machine's.
    count = await asyncio.to_thread(background.exports.forget, before=now - background.kept.exports * DAY_MICROS)
    _add(report, "exports", {DEPLOYMENT: count} if count else {})


async def _forget_conversations(services: Services, before: int, after: str) -> tuple[str | None, Mapping[str, int]]:
    """How far it came (None: through), and how many of each tenant."""
    background = services.background
    due = await background.conversations.due(before=before, after=after, limit=PAGE)
    deleted: Counter[str] = Counter()
    for tenant_id, conversation_id in due:
        try:
            async with services.db.batch(long=True) as batch:
                background.conversations.claim(batch, tenant_id, conversation_id, before=before)
                forget_conversation(services, batch, tenant_id, conversation_id)
        except Conflict:
            continue
        deleted[tenant_id] += 1
    return (due[-1][1] if len(due) == PAGE else None), deleted


async def _forget_escalations(services: Services, now: int, report: dict[str, Any]) -> None:
    background = services.background
    if background.kept.escalations is None:
        return
    before = now - background.kept.escalations * DAY_MICROS
    counted = await background.escalations.count(before=before)
    async with services.db.batch(long=True) as batch:
        background.escalations.delete_resolved(batch, before=before)
    _add(report, "escalations", counted)


async def _forget_approvals(services: Services, now: int, report: dict[str, Any]) -> None:
    background = services.background
    if background.kept.approvals is None:
        return
    before = now - background.kept.approvals * DAY_MICROS
    counted = await background.approvals.count(before=before)
    async with services.db.batch(long=True) as batch:
        background.approvals.delete_decided(batch, before=before)
    _add(report, "approvals", counted)


async def _forget_facts(services: Services, now: int, report: dict[str, Any]) -> None:
    """Of conversations that are deleted; the sums stay."""
    kept = services.background.kept.facts
    if kept is None:
        return
    before = now - kept * DAY_MICROS
    counted = await services.facts.count_old(before=before)
    async with services.db.batch(long=True) as batch:
        services.facts.delete_old(batch, before=before)
    _add(report, "facts", counted)


def _add(report: dict[str, Any], what: str, counted: Mapping[str, int]) -> None:
    for tenant_id, count in counted.items():
        mine = dict(report.get(tenant_id, {}))
        mine[what] = mine.get(what, 0) + count
        report[tenant_id] = mine
