"""Following a turn that runs on another replica, over the shared server."""

from collections.abc import AsyncIterator

from handrail.core.events import Event
from handrail.flows.services import Services
from handrail.serving.conversations import Turn, TurnStatus

OPEN = (TurnStatus.QUEUED, TurnStatus.RUNNING)


async def from_elsewhere(services: Services, turn: Turn, after: tuple[int, int] | None) -> AsyncIterator[list[Event]]:
    """Its live events, in order and without a gap. Ends early when they are not to be had: the transcript has the rest.

    The shared server may have lost the last ones, so the database is asked whether the turn still runs.
    """
    if services.shared_streams is None:
        return
    async for batch in services.shared_streams.follow(turn.id, after):
        if batch is not None:
            yield batch
            continue
        found = await services.conversations.find_turn(turn.tenant_id, turn.id)
        if found is None or found.status not in OPEN or services.draining:
            return
