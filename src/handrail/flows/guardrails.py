"""What comes in, judged by every policy that holds: recorded with it, counted, audited, and acted on by the route."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from handrail.core.messages import ToolResult
from handrail.db import Batch
from handrail.flows.loaded_release import LoadedRelease
from handrail.flows.services import ActiveTurn, Services
from handrail.protection.audit import AuditEntry
from handrail.protection.guardrails import Channel, Judgement, Tripped, judge
from handrail.serving.conversations import Turn

# From here on a scan takes some milliseconds, in which nothing else would run.
LONG_CHARACTERS = 2_000
MOST_DETAILS = 16


async def judged(services: Services, protecting: Sequence[LoadedRelease], text: str, channel: Channel) -> Judgement:
    """What the text trips, by the conversation's own release and the stable one; the stricter word wins."""
    guardrails = [each.input_guardrail for each in protecting]
    if len(text) > LONG_CHARACTERS:
        return await asyncio.to_thread(judge, services.detector, guardrails, text, channel)
    return judge(services.detector, guardrails, text, channel)


async def labelled(services: Services, active: ActiveTurn, result: ToolResult) -> ToolResult:
    """The result, with what it trips as text of a tool: it is marked, and whether it may cause anything is decided
    where tools are called."""
    protecting = await protection(services, active)
    active.given.append(result.content)
    judgement = await judged(services, protecting, result.content, "tool")
    if not judgement.tripped:
        return result
    turn, subject = active.turn, active.conversation.subject
    count(services, turn.agent, "tool", judgement.tripped)
    services.audit.note(entry(turn, judgement, subject, f"tool_call:{result.tool_call_id}"))
    return replace(result, tripped=judgement.stored())


async def protection(services: Services, active: ActiveTurn) -> Sequence[LoadedRelease]:
    """The releases whose policies hold for this turn, read once: as it began, or as it went on."""
    if not active.protecting:
        active.protecting = await services.releases.protection(active.turn.tenant_id, active.release)
    return active.protecting


def message_tripped(services: Services, batch: Batch, turn: Turn, judgement: Judgement, subject: str) -> None:
    """A user's message tripped something: recorded with the message."""
    services.audit.record(batch, entry(turn, judgement, subject, f"turn:{turn.id}"))


def count(services: Services, agent: str, channel: Channel, tripped: Iterable[Tripped]) -> None:
    for each in tripped:
        services.metrics.guardrail_tripped(agent, channel, each.guardrail, each.action)


def entry(turn: Turn, judgement: Judgement, subject: str, target: str) -> AuditEntry:
    """As it stands in the audit log: which guardrails, and what was done."""
    details = (("turn_id", turn.id), *((each.guardrail, each.action) for each in judgement.tripped[:MOST_DETAILS]))
    return AuditEntry(
        turn.tenant_id,
        "guardrail.tripped",
        "denied" if judgement.stops else "done",
        target,
        subject=subject,
        conversation_id=turn.conversation_id,
        release_id=turn.release_id,
        details=details,
    )
