"""How a process ends: turns end or are handed over, and nothing is left running that nobody runs."""

import asyncio
from contextlib import suppress

from handrail.core.errors import HandrailError
from handrail.db import Conflict
from handrail.flows.ledger import book
from handrail.flows.services import ActiveTurn, Services, ShuttingDown
from handrail.telemetry.logging import logger

LOOK_SECONDS = 0.02
STOP_SECONDS = 5.0
HANDED_OVER = "the server is stopping; the answer goes on when it is back: follow the turn's events"


async def drain(services: Services, seconds: float) -> None:
    """Admit nothing more, let turns end, hand over those that do not within `seconds`; those that wait stay stored."""
    services.draining = True
    services.admission.close()
    # A turn that has its place and is just being stored is not among those that run yet.
    if services.running or services.admission.running:
        logger().info("waiting for turns to end", turns=services.admission.running, seconds=seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _all_ended(services)
        await _hand_over_late(services)
    for active in list(services.waiting.values()):
        active.stream.abandon(ShuttingDown(HANDED_OVER, retry_after_seconds=5))
        services.waiting.pop(active.turn.id, None)
        services.streams.close(active.turn.id)


async def _all_ended(services: Services) -> None:
    while services.running or services.admission.running:
        if services.running:
            await asyncio.wait(list(services.running.values()))
        else:
            await asyncio.sleep(LOOK_SECONDS)


async def _hand_over_late(services: Services) -> None:
    """Stop what still runs, and what begins to run while it is stopped; not what is storing its end."""
    stopped: set[str] = set()
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            while services.running or services.admission.running:
                # A task that is cancelled before its first step never runs, and this one has a lease to let go.
                await asyncio.sleep(LOOK_SECONDS)
                for turn_id in services.running.keys() - services.ending - stopped:
                    stopped.add(turn_id)
                    services.running[turn_id].cancel()


async def hand_over(services: Services, active: ActiveTurn) -> None:
    """Let go of a turn's lease, so that another process, or this one when it is back, takes it over at once."""
    try:
        async with services.db.batch() as batch:
            book(services, active, batch, services.clock.micros())
            services.leases.let_go(batch, active.turn)
    except Conflict:
        logger().info("a turn had another owner already", turn_id=active.turn.id)
    except HandrailError as error:
        # Its lease runs out by itself; that takes a little longer.
        logger().warning("a turn's lease could not be let go", turn_id=active.turn.id, code=error.code)
    active.stream.abandon(ShuttingDown(HANDED_OVER, retry_after_seconds=5))
