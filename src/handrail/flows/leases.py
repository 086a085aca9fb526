"""The clocks of every process: renew the leases of what runs here, take over what nobody runs any more, and hear what
operators switched off elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from handrail.core.errors import HandrailError
from handrail.db import Conflict
from handrail.flows.admission import start_next
from handrail.flows.resume import go_on, take_over
from handrail.flows.services import Services
from handrail.flows.switches import watch
from handrail.flows.turn import run
from handrail.telemetry.logging import logger

RENEWALS_A_LEASE = 3
# A switch must hold everywhere within a second, whatever else is down.
WATCH_SECONDS = 0.5


def keep(services: Services) -> list["asyncio.Task[None]"]:
    """Start them; cancel the tasks to stop. The sole owner of a database has nobody to hear from."""
    limits, loop = services.limits, asyncio.get_running_loop()
    watching = [] if limits.sole_owner else [loop.create_task(_watch(services))]
    return [
        *watching,
        loop.create_task(_every(limits.lease_seconds / RENEWALS_A_LEASE, lambda: renew(services))),
        loop.create_task(_every(limits.sweep_seconds, lambda: sweep(services))),
    ]


async def renew(services: Services) -> None:
    """Say that this process lives, for all its turns at once."""
    if services.running:
        await services.leases.renew(services.limits.owner, lease_micros=services.limits.lease_micros)


async def sweep(services: Services) -> None:
    """Take over turns whose lease has run out, and start waiting turns that nobody started."""
    if services.draining:
        return
    for turn in await services.leases.expired():
        if turn.id not in services.running:
            await take_over(services, turn)
    await _approvals(services)
    for left in await services.leases.left_waiting():
        await start_next(services, left.tenant_id, left.conversation_id, run)


async def _approvals(services: Services) -> None:
    """Note what nobody decided in time, ask further people where a rule says so, and let decided turns go on."""
    async with services.db.batch() as batch:
        services.approvals.expire_due(batch)
    for approval in await services.approvals.due_for_escalation():
        with suppress(Conflict):
            async with services.db.batch() as batch:
                services.approvals.escalate(batch, approval)
            logger().warning("an approval waits too long and goes to more people", approval_id=approval.id)
            services.metrics.approval_escalated(approval.call.agent)
    for approval in await services.approvals.due_for_reminder():
        with suppress(Conflict):
            async with services.db.batch() as batch:
                services.approvals.mark_reminded(batch, approval)
            logger().warning("an approval still waits for its people", approval_id=approval.id)
    # What is still held back holds itself back anew.
    services.held_back.clear()
    for approval in await services.approvals.decided_not_resumed():
        try:
            await go_on(services, approval)
        except HandrailError as error:
            # One that can't go on (its release is damaged) must not keep the others.
            logger().error("a decided turn can't go on yet", approval_id=approval.id, code=error.code)


async def recover(services: Services) -> int:
    """At the start of a database's sole owner: every turn of another process is a dead one's. Returns how many."""
    turns = await services.leases.of_others(services.limits.owner)
    taken = [await take_over(services, turn) for turn in turns]
    await sweep(services)
    await services.conversations.sweep_keys(at=services.clock.micros())
    return sum(taken)


async def _watch(services: Services) -> None:
    """Look when another process says so, and twice a second anyway: news can be lost, what is stored can't."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                await services.look.wait()
        services.look.clear()
        try:
            await watch(services)
        except HandrailError as error:
            logger().warning("what is switched off could not be read", code=error.code, error=error.message)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Again and again; an error is logged and the next time tries anew."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except HandrailError as error:
            logger().warning("leases could not be looked after", code=error.code, error=error.message)
