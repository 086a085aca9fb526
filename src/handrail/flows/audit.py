"""What is audited, in one place: who did what, who was refused, who read what is not theirs; and the two clocks."""

import asyncio
from functools import partial
from typing import Protocol

from handrail.core.errors import HandrailError
from handrail.core.messages import ToolCall
from handrail.core.principal import Principal
from handrail.db import Batch
from handrail.flows.keepers import every
from handrail.flows.services import ActiveTurn, Services
from handrail.insight.costs import Unpriced
from handrail.oversight.approvals import Approval
from handrail.protection.audit import AuditEntry, Outcome
from handrail.protection.auth import LOCAL_OPERATOR, reads_personal_data
from handrail.serving.resilience import EVERYWHERE
from handrail.telemetry.logging import logger

FLUSH_SECONDS = 0.25
SEAL_SECONDS = 1.0
# Whoever sends no working key belongs to no tenant.
NOBODY = "unknown"


class Owned(Protocol):
    """Something of a user: a conversation."""

    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def subject(self) -> str: ...


def denied(services: Services, principal: Principal | None, what: str, code: str) -> None:
    """Somebody was refused `what` (`route:...` or `tool:...`); noted, since nothing else is written."""
    tenant = principal.tenant_id if principal else NOBODY
    details = (("code", code),)
    services.metrics.denied(code)
    services.audit.note(AuditEntry(tenant, "access.denied", "denied", what, principal, details=details))


def read_by_staff(services: Services, principal: Principal, conversation: Owned) -> None:
    """Somebody other than its user reads a conversation; its user's own reading is nobody's business."""
    if (principal.tenant_id, principal.subject) == (conversation.tenant_id, conversation.subject):
        return
    services.audit.note(
        AuditEntry(
            conversation.tenant_id,
            "conversation.read",
            "done",
            f"conversation:{conversation.id}",
            principal,
            subject=conversation.subject,
            details=(("identifiers", "values" if reads_personal_data(principal) else "handles"),),
        )
    )


def stopped_by_staff(
    services: Services, principal: Principal, conversation: Owned, turn_id: str, batch: Batch | None
) -> None:
    """Somebody other than its user stops a turn; beside the write that stops it, or on its own where a task ends."""
    if (principal.tenant_id, principal.subject) == (conversation.tenant_id, conversation.subject):
        return
    tenant, target = conversation.tenant_id, f"turn:{turn_id}"
    entry = AuditEntry(
        tenant,
        "turn.cancelled",
        "done",
        target,
        principal,
        subject=conversation.subject,
        conversation_id=conversation.id,
    )
    if batch is None:
        services.audit.note(entry)
    else:
        services.audit.record(batch, entry)


def listed_by_staff(services: Services, principal: Principal) -> None:
    """Staff look through what conversations are called, which is how they begin."""
    target = "conversations:newest"
    services.audit.note(AuditEntry(principal.tenant_id, "conversations.listed", "done", target, principal))


def searched_by_staff(services: Services, principal: Principal, by: str, found: int) -> None:
    """Staff looked for something that was said, `by` words or an identifier; what it was is not on record."""
    details = (("found", found),)
    target = f"conversations:{by}"
    entry = AuditEntry(principal.tenant_id, "conversations.searched", "done", target, principal, details=details)
    services.audit.note(entry)


def approval_voted(services: Services, batch: Batch, principal: Principal, approval: Approval, decision: str) -> None:
    """A person's word on an approval, with what it is about; recorded with the vote."""
    details = (("decision", decision), ("status", approval.status.value), ("fingerprint", approval.fingerprint))
    services.audit.record(batch, _of_approval(approval, "approval.voted", principal, details))


def approval_used(services: Services, batch: Batch, approval: Approval) -> None:
    """A decision, or the lack of one in time, is acted on; this happens once."""
    details = (("status", approval.status.value), ("fingerprint", approval.fingerprint))
    services.audit.record(batch, _of_approval(approval, "approval.used", None, details))


def delegated(
    services: Services, batch: Batch, principal: Principal, delegation_id: str, action: str, subject: str
) -> None:
    """Somebody's votes are lent to `subject`, or a loan to `subject` ends."""
    entry = AuditEntry(principal.tenant_id, action, "done", f"delegation:{delegation_id}", principal, subject=subject)
    services.audit.record(batch, entry)


class Switched(Protocol):
    """What an operator switched off: a tool, a model, an agent, a tenant, a release."""

    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...


def switched(services: Services, batch: Batch, operator: Principal, switch: Switched, action: str) -> None:
    """An operator switched something off, or on again; recorded with the switch, and of one that holds everywhere in
    the operator's own tenant, where somebody reads it."""
    details = (("kind", switch.kind), ("name", switch.name))
    tenant = operator.tenant_id if switch.tenant_id == EVERYWHERE else switch.tenant_id
    services.audit.record(batch, AuditEntry(tenant, action, "done", f"switch:{switch.id}", operator, details=details))


def job_requested(principal: Principal, run_id: str, job: str) -> AuditEntry:
    """Somebody asked for a run of a job; recorded with what was asked."""
    return AuditEntry(principal.tenant_id, "job.requested", "done", f"run:{run_id}", principal, details=(("job", job),))


def baseline_recorded(principal: Principal, baseline_id: str, agent: str) -> AuditEntry:
    """What an agent is compared with from now on; recorded with it."""
    details = (("agent", agent),)
    return AuditEntry(
        principal.tenant_id, "baseline.recorded", "done", f"baseline:{baseline_id}", principal, details=details
    )


def calls_repriced(services: Services, batch: Batch, group: Unpriced, calls: int, cost_micros: int) -> None:
    """Calls on the books have got their cost from a price that came later; recorded with it."""
    target, details = f"model:{group.provider}/{group.model}", (("calls", calls), ("cost_micros", cost_micros))
    entry = AuditEntry(group.tenant_id, "usage.repriced", "done", target, None, details=details)
    services.audit.record(batch, entry)


def insight_exported(principal: Principal, what: str) -> AuditEntry:
    """Staff took figures out as a file; noted, for nothing else is written."""
    return AuditEntry(principal.tenant_id, "insight.exported", "done", f"insight:{what}", principal)


def exported(services: Services, batch: Batch, tenant_id: str, run_id: str, conversations: int) -> None:
    """All conversations of a tenant are about to be in a file; who asked is on record under the same run."""
    details = (("conversations", conversations),)
    entry = AuditEntry(tenant_id, "conversations.exported", "done", f"run:{run_id}", None, details=details)
    services.audit.record(batch, entry)


def _of_approval(
    approval: Approval, action: str, principal: Principal | None, details: tuple[tuple[str, str], ...]
) -> AuditEntry:
    call = approval.call
    return AuditEntry(
        call.tenant_id,
        action,
        "done",
        f"approval:{approval.id}",
        principal,
        subject=call.requester,
        conversation_id=call.conversation_id,
        release_id=call.release_id,
        details=(("tool", call.tool), ("tool_call_id", call.tool_call_id), *details),
    )


def tool_call_begins(services: Services, active: ActiveTurn, batch: Batch, call: ToolCall) -> None:
    """A side effect is about to happen: recorded with its intent row, before it does."""
    services.audit.record(batch, _of_call(active, call.id, call.name, "tool_call.began", "done"))


def tool_call_ended(services: Services, active: ActiveTurn, batch: Batch, call_id: str, tool: str, status: str) -> None:
    """What is known of a side effect's outcome, recorded with its result row."""
    outcome: Outcome = "done" if status == "completed" else "unknown" if status == "unknown" else "failed"
    services.audit.record(batch, _of_call(active, call_id, tool, "tool_call.ended", outcome))


def tool_call_denied(services: Services, active: ActiveTurn, call: ToolCall, code: str) -> None:
    """The agent asked for what this user may not have done."""
    services.metrics.denied(code)
    services.audit.note(_of_call(active, call.id, call.name, "tool_call.denied", "denied", code))


def _of_call(
    active: ActiveTurn, call_id: str, tool: str, action: str, outcome: Outcome, code: str | None = None
) -> AuditEntry:
    turn = active.turn
    details = (("tool", tool), ("turn_id", turn.id)) + ((("code", code),) if code else ())
    return AuditEntry(
        turn.tenant_id,
        action,
        outcome,
        f"tool_call:{call_id}",
        active.principal,
        subject=active.conversation.subject,
        conversation_id=turn.conversation_id,
        release_id=turn.release_id,
        details=details,
    )


def keep(services: Services) -> list["asyncio.Task[None]"]:
    """Store what was noted, and seal what was stored; cancel the tasks to stop."""
    loop = asyncio.get_running_loop()
    return [
        loop.create_task(every(FLUSH_SECONDS, services.audit.flush, "the audit log")),
        loop.create_task(every(SEAL_SECONDS, services.audit.seal, "the audit log")),
        loop.create_task(every(SEAL_SECONDS, partial(take_in, services), "what commands did")),
    ]


async def take_in(services: Services) -> int:
    """What commands of this machine did, for the log; how much it was."""
    if services.commands is None:
        return 0
    return await services.audit.take_in(services.commands, LOCAL_OPERATOR.tenant_id, LOCAL_OPERATOR)


async def close(services: Services) -> None:
    """The last words of a process: nothing noted is lost by an orderly end."""
    try:
        await services.audit.flush()
        while await services.audit.seal() is not None:
            pass
    except HandrailError as error:
        logger().error("audit records could not be stored", code=error.code, error=error.message)
