"""A turn whose every owner dies is not given to yet another one: perhaps it is what kills them. A person gets it.

Works from the stored rows alone, because the release itself may be what can't be loaded.
"""

from handrail.core.answers import Handoff
from handrail.flows.ledger import book_last, total, waited_for_model
from handrail.flows.notify import case_opened
from handrail.flows.services import Services
from handrail.flows.wording import WENT_WRONG
from handrail.oversight.escalations import Attempt, Escalation, customer_word, summarise
from handrail.serving.conversations import Turn, TurnEnd, TurnStatus
from handrail.telemetry.logging import logger

TOO_MANY_OWNERS = "too_many_owners"


def owners_since_a_pause(turn: Turn) -> int:
    """How many processes have had this turn since it began or last waited for people."""
    return turn.epoch - int(turn.parked.get("epoch", 0) if turn.parked else 0)


async def give_up(services: Services, turn: Turn) -> None:
    """End a turn that this process owns, as failed, with a case for people and a true word for its user."""
    messages = await services.conversations.turn_messages(turn.tenant_id, turn.id)
    calls = await services.conversations.turn_calls(turn.tenant_id, turn.id)
    booked = await services.usage.of_turn(turn.tenant_id, turn.id)
    at, spent, is_call_lost = services.clock.micros(), total(booked), waited_for_model(messages, calls)
    handoff = Handoff(f"{services.limits.most_owners} processes ended or lost it while they ran this turn")
    text = customer_word(handoff, message=WENT_WRONG)
    summary = summarise(
        intent=turn.intent,
        text=next((each.content for each in messages if each.position == 0), ""),
        reason=handoff.reason,
        earlier=[],
        attempts=[Attempt(call.name, call.outcome) for call in calls],
    )
    case = Escalation.of(turn, handoff, summary, at)
    position = max((each.position for each in messages), default=0) + 1
    end = TurnEnd(
        TurnStatus.FAILED,
        error_code=TOO_MANY_OWNERS,
        error_message=text,
        usage=spent.usage,
        cost_micros=None if booked and is_call_lost else spent.cost_micros,
        escalation_id=case.id,
        event_seq=1,
    )
    async with services.db.batch() as batch:
        services.conversations.end(batch, turn, end, at=at)
        services.conversations.add_message(batch, turn, position, "assistant", text, "agent", at=at)
        services.conversations.end_calls_unknown(batch, turn, at=at)
        if is_call_lost:
            book_last(services, batch, turn, booked, at)
        services.escalations.open(batch, case)
        case_opened(services, batch, case)
        services.facts.changed(batch, turn.tenant_id, turn.conversation_id, at=at)
    logger().error("a turn is given up: its owners end one after another", turn_id=turn.id, epoch=turn.epoch)
    services.metrics.escalation(turn.agent, None)
