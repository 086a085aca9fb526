"""How a turn ends that does not end by its answer: stopped, out of time, failed, parked, or taken by another process.

Whatever happens here, its clients hear of it: nobody is left waiting for a turn that nobody runs.
"""

from functools import partial

from handrail.core import events
from handrail.core.errors import HandrailError
from handrail.db import Conflict, StoreUnavailable
from handrail.flows.gate import ApprovalPending
from handrail.flows.park import park
from handrail.flows.record import record_early_end, show_stored_end
from handrail.flows.route import Route
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.wording import WENT_WRONG
from handrail.serving.conversations import Fenced, TurnStatus
from handrail.telemetry.logging import logger

AGAIN_SECONDS = 2.0
UNKNOWN_END = (
    "the end of this turn could not be stored, and it may go on; follow its events, or send it again by its key"
)


async def end_fenced(services: Services, active: ActiveTurn) -> None:
    """Somebody else owns the turn now, or it was ended: this process has nothing more to say in it."""
    logger().warning("a turn is owned by another process now", turn_id=active.turn.id, epoch=active.turn.epoch)
    if not await show_stored_end(services, active):
        active.stream.abandon(Fenced("this turn goes on in another process; follow its events to see the answer"))


async def end_parked(services: Services, active: ActiveTurn, route: Route | None, pending: ApprovalPending) -> None:
    """Park the turn; when that can't be stored, it goes on when its lease has run out, and asks again."""
    services.ending.add(active.turn.id)
    try:
        await park(services, active, route, pending)
    except Conflict:
        await end_fenced(services, active)
    except HandrailError as error:
        logger().error("a turn could not be parked", turn_id=active.turn.id, code=error.code, error=error.message)
        active.stream.abandon(error)


async def end_early(
    services: Services, active: ActiveTurn, route: Route | None, status: TurnStatus, code: str, message: str
) -> None:
    """Record an early end. When even that fails the client is told, and the sweeper or the next message of the
    conversation tries again."""
    services.ending.add(active.turn.id)
    try:
        await record_early_end(services, active, route, status, code, message)
    except Conflict:
        await end_fenced(services, active)
    except Exception as error:  # noqa: BLE001 - whatever it was, nobody may be left waiting for this turn
        code = error.code if isinstance(error, HandrailError) else "internal"
        known = None if isinstance(error, HandrailError) else error
        logger().error("the end of a turn could not be stored", turn_id=active.turn.id, code=code, exc_info=known)
        if not await show_stored_end(services, active):
            again = partial(record_early_end, services, active, route, TurnStatus.FAILED, code, "")
            services.unrecorded[active.turn.conversation_id] = again
            if services.limits.sole_owner or known is not None:
                active.stream.finish(events.FAILED, active.unrecorded(code, WENT_WRONG))
            else:
                # Another process may take the turn over first and complete it: nobody is told what may not hold.
                active.stream.abandon(StoreUnavailable(UNKNOWN_END, retry_after_seconds=AGAIN_SECONDS))
