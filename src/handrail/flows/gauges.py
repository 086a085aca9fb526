"""What waits and what was promised, told to the metrics every few seconds: figures that only the database knows."""

import asyncio
from collections.abc import Mapping
from functools import partial

from handrail.flows.keepers import every
from handrail.flows.objectives import stated
from handrail.flows.services import Services
from handrail.telemetry.objectives import Promise

SECONDS = 5.0


def keep(services: Services) -> "asyncio.Task[None]":
    """Look for as long as this process lives; cancel the task to stop."""
    return asyncio.get_running_loop().create_task(
        every(SECONDS, partial(look, services), "what waits for people and what was promised to users")
    )


async def look(services: Services) -> None:
    """Every process of a cluster tells the same, so a query takes the most of them and not the sum."""
    waiting = await services.approvals.waiting()
    oldest = min((at for _, at in waiting.values()), default=None)
    age = 0.0 if oldest is None else max(0.0, (await services.approvals.now() - oldest) / 1e6)
    services.metrics.objectives.tell(await promises(services))
    services.metrics.approvals_wait({agent: count for agent, (count, _) in waiting.items()}, age)


async def promises(services: Services) -> Mapping[str, Promise]:
    """The objective of each agent; of several tenants' agents of one name the strictest."""
    found: dict[str, Promise] = {}
    for (_, agent), own in (await stated(services)).items():
        promise = Promise(own.availability, own.latency_share, own.latency_seconds)
        found[agent] = promise.stricter(found.get(agent))
    return found
