"""The one story: what happens to a message, from its arrival to the recorded answer.

receive -> admit (rate, a place) -> input guardrails -> store (commit a) -> classify -> route by confidence -> flow or
agent loop, where every model and tool call is governed -> stream -> record (commit d). The turn runs on its own: a
client that leaves changes nothing, and what it missed is replayed to it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from handrail.core import events
from handrail.core.deadline import DeadlineExceeded
from handrail.core.errors import HandrailError
from handrail.core.messages import Message
from handrail.core.principal import Principal
from handrail.db import Conflict
from handrail.flows import spans
from handrail.flows.admission import Arrived, admit_earlier, attach, begin, pinned, start_next, wait_for_start
from handrail.flows.answer import answer
from handrail.flows.conversations import require_own
from handrail.flows.early_end import end_early, end_fenced, end_parked
from handrail.flows.gate import ApprovalPending
from handrail.flows.guardrails import judged
from handrail.flows.record import record
from handrail.flows.route import decide
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.shutdown import hand_over
from handrail.flows.wording import OUT_OF_TIME, STOPPED, WENT_WRONG, sorry
from handrail.protection.guardrails import admit_text, strictest
from handrail.protection.rate_limits import RateDecision
from handrail.serving.conversations import IdempotencyScope, TurnStatus, TurnStream
from handrail.serving.resilience import Place
from handrail.telemetry.logging import logger
from handrail.telemetry.trace import enter_trace


async def take_turn(
    services: Services,
    principal: Principal,
    conversation_id: str,
    message: str,
    *,
    idempotency: IdempotencyScope | None = None,
    earlier: Sequence[Message] = (),
    place: Place | None = None,
    on_rate: Callable[[RateDecision], None] | None = None,
) -> TurnStream:
    """Receive one message of an authenticated principal; returns as soon as it is safely stored.

    `on_rate` is told what is left of the principal's rate, whatever comes of the turn after that.

    Raises:
        NotFound, RateLimited, TenantOverloaded, Overloaded, InvalidMessage, ConversationBusy, IdempotencyMismatch,
        StoreUnavailable, ShuttingDown, SwitchedOff.
    """
    began = time.perf_counter()
    services.require_admitting()
    conversation = await require_own(services, principal, conversation_id)
    if idempotency is not None and (known := await services.remembered(principal, idempotency)):
        return await attach(services, principal, known)
    pin = await pinned(services, conversation)
    rate = await services.require_rate(principal, conversation.agent)
    if on_rate is not None:
        on_rate(rate)
    async with place or services.admission.admit(conversation.tenant_id) as place:
        release = await services.releases.load(conversation.tenant_id, pin)
        protecting = await services.releases.protection(conversation.tenant_id, release)
        text = admit_text(message, strictest(each.policies.input for each in protecting))
        judging = time.perf_counter()
        judgement = await judged(services, protecting, text, "user")
        judged_at = time.perf_counter()
        before = await admit_earlier(services, protecting, earlier)
        arrived = Arrived(text, judgement, before, idempotency)
        active = await begin(services, principal, conversation, release, arrived)
        if isinstance(active, TurnStream):
            return active
        active.protecting = protecting
        spans.judged(active, judging, judged_at)
        # Overhead counts from the request on; of a turn that waits in line it counts from its start.
        if active.turn.status is TurnStatus.RUNNING:
            active.began, active.place = began + place.waited_seconds, place.moved()
            run(services, active)
        else:
            wait(services, active)
    return active.stream


def run(services: Services, active: ActiveTurn) -> None:
    """Let the turn run on its own, in its place; one that was admitted before takes a place and is not refused."""
    place = active.place or services.admission.admit(active.turn.tenant_id).seize()
    task = services.running[active.turn.id] = asyncio.get_running_loop().create_task(_run(services, active))
    task.add_done_callback(lambda _: place.leave())


def wait(services: Services, active: ActiveTurn) -> None:
    """Let the turn wait for the one before it."""
    active.stream.publish(events.QUEUED, {"turn_id": active.turn.id})
    watcher = asyncio.get_running_loop().create_task(wait_for_start(services, active, run))
    services.watchers.add(watcher)
    watcher.add_done_callback(services.watchers.discard)


async def _run(services: Services, active: ActiveTurn) -> None:
    """The turn, and every way it can end; then the next one of the conversation."""
    turn, route = active.turn, None
    enter_trace(active.trace.context)
    try:
        services.switches.require_release(turn.tenant_id, turn.agent, turn.release_id)
        async with asyncio.timeout(active.deadline.remaining()):
            active.stream.publish(events.STARTED, active.started())
            routing = time.perf_counter()
            route = decide(services, active)
            spans.routed(active, routing, route)
            active.intent = route.intent
            active.stream.publish(events.ROUTE_DECIDED, route.public())
            outcome = await answer(services, active, route)
        services.ending.add(turn.id)
        await record(services, active, route, outcome)
    except ApprovalPending as pending:
        await end_parked(services, active, route, pending)
    except asyncio.CancelledError:
        if services.draining:
            await hand_over(services, active)
        else:
            await end_early(services, active, route, TurnStatus.CANCELLED, "cancelled", STOPPED)
    except (TimeoutError, DeadlineExceeded):
        await end_early(services, active, route, TurnStatus.FAILED, "deadline_exceeded", OUT_OF_TIME)
    except Conflict:
        await end_fenced(services, active)
    except HandrailError as error:
        logger().warning("turn failed", turn_id=turn.id, code=error.code, error=error.message)
        await end_early(services, active, route, TurnStatus.FAILED, error.code, sorry(error.code))
    except Exception as error:  # noqa: BLE001 - the one place where an unknown error of a turn ends
        logger().error("turn failed unexpectedly", turn_id=turn.id, exc_info=error)
        await end_early(services, active, route, TurnStatus.FAILED, "internal", WENT_WRONG)
    finally:
        services.streams.close(turn.id)
        services.running.pop(turn.id, None)
        services.ending.discard(turn.id)
    await start_next(services, turn.tenant_id, turn.conversation_id, run)
