"""A turn whose owner is gone goes on here: what it needs is what is stored as its transcript.

take over (compare-and-set, next epoch) -> read the rounds and tool calls it has stored -> finish what was open: a
read runs again, a write that had begun is asked about and never run twice -> go on as any turn does.
"""

from dataclasses import replace
from functools import partial

from handrail.core.answers import Awaiting
from handrail.core.errors import HandrailError
from handrail.db import Conflict
from handrail.flows.admission import active_turn
from handrail.flows.audit import approval_used
from handrail.flows.give_up import give_up, owners_since_a_pause
from handrail.flows.ledger import read_books
from handrail.flows.sender import sender_of
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.turn import run
from handrail.oversight.approvals import Approval
from handrail.serving.conversations import Turn, TurnStatus
from handrail.telemetry.logging import logger


async def take_over(services: Services, turn: Turn) -> bool:
    """Own this turn and let it run here; False when somebody else was faster or it can't be read."""
    try:
        async with services.db.batch() as batch:
            services.leases.take_over(
                batch,
                turn,
                owner=services.limits.owner,
                lease_micros=services.limits.lease_micros,
                sole_owner=services.limits.sole_owner,
            )
    except Conflict:
        return False
    taken = replace(turn, epoch=turn.epoch + 1)
    logger().info("a turn is taken over", turn_id=turn.id, epoch=taken.epoch)
    services.metrics.taken_over(turn.agent)
    if owners_since_a_pause(taken) > services.limits.most_owners:
        await give_up(services, taken)
        return False
    return await _run_here(services, taken, is_owner_dead=not turn.is_let_go)


async def _run_here(services: Services, turn: Turn, *, is_owner_dead: bool = False) -> bool:
    """Let a turn that is this process's now run; whatever keeps it from that must not keep others from theirs."""
    try:
        run(services, await _restored(services, turn, is_owner_dead=is_owner_dead))
    except Exception as error:  # noqa: BLE001 - its lease runs out, and the next look tries once more
        known = error if isinstance(error, HandrailError) else None
        logger().error(
            "a turn that was taken over can't be read",
            turn_id=turn.id,
            code=known.code if known else "internal",
            exc_info=None if known else error,
        )
        return False
    return True


async def go_on(services: Services, approval: Approval) -> bool:
    """A parked turn hears of a decision and runs again, once.

    False when another turn of its conversation runs now, or its agent is switched off: then it waits on. The decision
    is used in the same batch that claims the turn, so that no two processes act on it.
    """
    turn = await services.conversations.find_turn(approval.call.tenant_id, approval.call.turn_id)
    assert turn is not None, "approvals refer to their turn"
    if services.switches.is_paused(turn.tenant_id, turn.agent):
        return False
    waits = turn.status is TurnStatus.REQUIRES_ACTION
    if turn.status in (TurnStatus.RUNNING, TurnStatus.QUEUED):
        # It went on for another of its approvals; when it parks again, or ends, this one is looked at.
        services.held_back[turn.conversation_id] = partial(go_on, services, approval)
        return False
    if waits:
        # Before the turn is claimed: one whose release can't be loaded must not count as running.
        await services.releases.load(turn.tenant_id, turn.release_id)
    try:
        async with services.db.batch() as batch:
            services.approvals.mark_resumed(batch, approval.call.tenant_id, approval.id)
            approval_used(services, batch, approval)
            if waits:
                services.leases.go_on(
                    batch, turn, owner=services.limits.owner, lease_micros=services.limits.lease_micros
                )
                services.facts.changed(batch, turn.tenant_id, turn.conversation_id, at=services.clock.micros())
    except Conflict:
        if waits:
            # Another turn of the conversation runs, here as a rule; the end of that one begins this one.
            services.held_back[turn.conversation_id] = partial(go_on, services, approval)
        return False
    seconds = ((approval.decided_at or approval.created_at) - approval.created_at) / 1e6
    services.metrics.approval_decided(approval.call.agent, approval.status.value, seconds)
    if waits:
        going = replace(turn, status=TurnStatus.RUNNING, epoch=turn.epoch + 1)
        await _run_here(services, going)
    return True


async def _restored(services: Services, turn: Turn, *, is_owner_dead: bool) -> ActiveTurn:
    """The turn as the transcript and the books have it. It acts with its own user's rights."""
    conversation = await services.conversations.find(turn.tenant_id, turn.conversation_id)
    release = await services.releases.load(turn.tenant_id, turn.release_id)
    messages = await services.conversations.turn_messages(turn.tenant_id, turn.id)
    calls = await services.conversations.turn_calls(turn.tenant_id, turn.id)
    text = next(message.content for message in messages if message.position == 0)
    active = active_turn(services, sender_of(turn, conversation), conversation, release, turn, text)
    if turn.parked is not None:
        # It begins where the conversation stood then, whatever was said since.
        then = turn.parked["awaiting"]
        awaiting = Awaiting(**then) if then else None
        active.conversation = replace(conversation, awaiting=awaiting, failures=turn.parked["failures"])
    active.rounds = [message for message in messages if message.tool_calls]
    active.ladder = [dict(step) for step in turn.ladder]
    active.journal = {call.id: call for call in calls}
    active.begun = {call.id: call.name for call in calls if call.status == "intent"}
    await read_books(services, active, is_owner_dead=is_owner_dead)
    active.position = max(message.position for message in messages)
    # Words between rounds of tools are stored with their round; what a flow said, it says again.
    active.stream.restart("\n\n".join(message.content for message in active.rounds if message.content))
    return active
