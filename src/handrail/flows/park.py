"""A turn that waits for people ends its run here: nothing of it stays in memory, and its user is told the truth."""

from dataclasses import asdict

from handrail.flows import spans
from handrail.flows.gate import ApprovalPending
from handrail.flows.record import record_parked
from handrail.flows.route import Route
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.wording import waits_for_approval
from handrail.oversight.approvals import ApprovalStatus


async def park(services: Services, active: ActiveTurn, route: Route | None, pending: ApprovalPending) -> None:
    """Store the turn as `requires_action`, with what it needs to begin again where the conversation stood."""
    asked = await services.approvals.of_turn(active.turn.tenant_id, active.turn.id)
    waiting = [each for each in asked if each.status is ApprovalStatus.PENDING] or [pending.approval]
    for each in waiting:
        spans.asked(active, each)
    seconds = (min(each.expires_at for each in waiting) - await services.approvals.now()) / 1e6
    word = waits_for_approval([each.call.tool for each in waiting], seconds)
    active.stream.say(f"\n\n{word}" if active.stream.text else word)
    awaiting = active.conversation.awaiting
    await record_parked(
        services,
        active,
        route,
        {
            "awaiting": asdict(awaiting) if awaiting else None,
            "failures": active.conversation.failures,
            "approvals": [each.id for each in waiting],
            "epoch": active.turn.epoch,
        },
    )
