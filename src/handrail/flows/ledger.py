"""What the model calls of a turn used, on its way to the books: with each round of tools and with the end of the turn,
so that a process that dies leaves its calls there.

A call that was in flight when its process died told nobody what it used. The next owner of the turn makes it again;
then the lost one is charged by an estimate of its request, and stands on the books as a call whose cost is not known.
"""

from collections.abc import Iterable, Sequence

from handrail.core.answers import ModelCalled
from handrail.core.models import ModelClient, ModelRequest
from handrail.core.usage import LOST, Usage, Used
from handrail.db import Batch
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.spent import estimate_of
from handrail.insight.costs import ModelUsage
from handrail.serving.conversations import StoredMessage, StoredToolCall, Turn


def book(services: Services, active: ActiveTurn, batch: Batch, at: int) -> None:
    """Add what is not on the books yet; it is `booked` once the batch is stored."""
    active.booking = len(active.calls)
    if fresh := active.calls[active.booked :]:
        services.usage.record(batch, [_row(active.turn, active.intent, each, at) for each in fresh])


def booked(active: ActiveTurn) -> None:
    """A batch is stored, and with it what was added to it."""
    active.booked = active.booking


def used(active: ActiveTurn) -> Used:
    """By this owner of the turn and those before."""
    return sum((Used(call.usage, call.cost_micros) for call in active.calls), active.used_before)


async def read_books(services: Services, active: ActiveTurn, *, is_owner_dead: bool) -> None:
    """What earlier owners used, and whether the last of them died waiting for a model."""
    rows = await services.usage.of_turn(active.turn.tenant_id, active.turn.id)
    active.used_before = total(rows)
    active.is_call_lost = is_owner_dead and waited_for_model(active.rounds, active.journal.values())


def waited_for_model(messages: Iterable[StoredMessage], calls: Iterable[StoredToolCall]) -> bool:
    """Whether its owner was not waiting for a tool: each that was asked for has a result."""
    asked = [call.id for message in messages for call in message.tool_calls]
    return {call.id for call in calls if call.result is not None}.issuperset(asked)


def total(rows: Sequence[ModelUsage]) -> Used:
    """Of all calls; the cost is not known when that of one is not."""
    return sum((Used(row.usage, row.cost_micros) for row in rows), Used())


async def charge_lost(services: Services, active: ActiveTurn, client: ModelClient, request: ModelRequest) -> None:
    """The call that is about to be made was made before, by an owner that died of it or in it."""
    active.is_call_lost = False
    usage = estimate_of(request)
    services.charge_tokens(active.principal, usage)
    services.metrics.tokens_estimated(active.turn.agent, client.model, usage)
    services.metrics.insight.cost(active.turn.agent, client.model, None)
    active.calls.append(ModelCalled(client.provider, client.model, Usage(), 0, LOST))
    async with services.db.batch() as batch:
        services.conversations.still_mine(batch, active.turn, lease_micros=services.limits.lease_micros)
        book(services, active, batch, services.clock.micros())
    booked(active)


def book_last(services: Services, batch: Batch, turn: Turn, rows: Sequence[ModelUsage], at: int) -> None:
    """The last owner of a turn that is given up waited for a model, if one was called at all."""
    if rows:
        call = ModelCalled(rows[-1].provider, rows[-1].model, Usage(), 0, LOST)
        services.usage.record(batch, [_row(turn, rows[-1].intent, call, at)])


def _row(turn: Turn, intent: str | None, call: ModelCalled, at: int) -> ModelUsage:
    return ModelUsage(
        tenant_id=turn.tenant_id,
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
        agent=turn.agent,
        release_id=turn.release_id,
        intent=intent,
        provider=call.provider,
        model=call.model,
        usage=call.usage,
        milliseconds=call.milliseconds,
        finish_reason=call.finish_reason,
        created_at=at,
        cost_micros=call.cost_micros,
    )
