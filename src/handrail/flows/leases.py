"""The clocks of every process: renew the leases of what runs here, take over what nobody runs any more, and hear what
operators switched off elsewhere."""

import asyncio
from contextlib import suppress
from functools import partial

from handrail.db import Conflict
from handrail.flows.admission import clear, start_next
from handrail.flows.keepers import every, tried
from handrail.flows.notify import approval_waits
from handrail.flows.resume import go_on, take_over
from handrail.flows.services import Services
from handrail.flows.switches import watch
from handrail.flows.turn import run
from handrail.telemetry.logging import logger
from handrail.telemetry.trace import begin_trace

LEASES = "leases"
RENEWALS_A_LEASE = 3
# A switch must hold everywhere within a second, whatever else is down.
WATCH_SECONDS = 0.5


def keep(services: Services) -> list["asyncio.Task[None]"]:
    """Start them; cancel the tasks to stop. The sole owner of a database has nobody to hear from."""
    limits, loop = services.limits, asyncio.get_running_loop()
    watching = [] if limits.sole_owner else [loop.create_task(_watch(services))]
    return [
        *watching,
        loop.create_task(every(limits.lease_seconds / RENEWALS_A_LEASE, partial(renew, services), LEASES)),
        loop.create_task(every(limits.sweep_seconds, partial(sweep, services), LEASES)),
    ]


async def renew(services: Services) -> None:
    """Say that this process lives, for all the turns that it runs at once."""
    limits = services.limits
    if services.running:
        await services.leases.renew(limits.owner, list(services.running), lease_micros=limits.lease_micros)


async def sweep(services: Services) -> None:
    """Store ends that could not be stored, take over turns whose lease has run out, let decided ones go on, and start
    waiting ones that nobody started. One that fails keeps none of the others."""
    for work in (_unrecorded, _expired, _approvals, _left_waiting):
        if not services.draining:
            await tried(partial(work, services), LEASES)


async def _unrecorded(services: Services) -> None:
    for conversation_id in list(services.unrecorded):
        await clear(services, conversation_id)


async def _expired(services: Services) -> None:
    """Page after page: a process may have died with more turns than one page holds."""
    seen: set[str] = set()
    while turns := [turn for turn in await services.leases.expired() if turn.id not in seen]:
        for turn in turns:
            seen.add(turn.id)
            if turn.id not in services.running:
                await take_over(services, turn)


async def _left_waiting(services: Services) -> None:
    for left in await services.leases.left_waiting():
        await start_next(services, left.tenant_id, left.conversation_id, run)


async def _approvals(services: Services) -> None:
    """Note what nobody decided in time, ask further people where a rule says so, and let decided turns go on."""
    if not await services.approvals.has_open():
        services.held_back.clear()
        return
    async with services.db.batch() as batch:
        services.approvals.expire_due(batch)
    for approval in await services.approvals.due_for_escalation():
        with suppress(Conflict):
            async with services.db.batch() as batch:
                further = services.approvals.escalate(batch, approval)
                approval_waits(services, batch, further, escalated=True)
            logger().warning("an approval waits too long and goes to more people", approval_id=approval.id)
            services.metrics.approval_escalated(approval.call.agent)
    for approval in await services.approvals.due_for_reminder():
        with suppress(Conflict):
            async with services.db.batch() as batch:
                services.approvals.mark_reminded(batch, approval)
                approval_waits(services, batch, approval, escalated=False)
            logger().warning("an approval still waits for its people", approval_id=approval.id)
    # What is still held back holds itself back anew.
    services.held_back.clear()
    for approval in await services.approvals.decided_not_resumed():
        # One that can't go on (its release is damaged) must not keep the others.
        await tried(partial(go_on, services, approval), f"the turn of approval {approval.id}")


async def recover(services: Services) -> int:
    """At the start of a database's sole owner: every turn of another process is a dead one's. Returns how many."""
    turns = await services.leases.of_others(services.limits.owner)
    taken = [await take_over(services, turn) for turn in turns]
    await sweep(services)
    await services.conversations.idempotency.sweep(at=services.clock.micros())
    return sum(taken)


async def _watch(services: Services) -> None:
    """Look when another process says so, and twice a second anyway: news can be lost, what is stored can't."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_SECONDS):
                await services.look.wait()
        services.look.clear()
        begin_trace()
        await tried(partial(watch, services), "what is switched off")
