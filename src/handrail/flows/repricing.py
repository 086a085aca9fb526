"""Calls whose price came later: what stands on the books without a cost gets one once somebody says what it costs.

A price comes by the settings, by a release, or with a newer price list. The process that counts conversations then goes
through what has none; a conversation whose calls got one is counted anew, so that every sum follows. A cost that stands
on the books is never changed. Which address a model was called at, its release says; where two could have answered
under one name for different prices, the cost stays unknown.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from handrail.core.documents import parse_yaml, validate
from handrail.core.errors import HandrailError
from handrail.db import StoreUnavailable
from handrail.flows.audit import calls_repriced
from handrail.flows.keepers import every
from handrail.flows.ledger import total
from handrail.flows.rollup import leads
from handrail.flows.services import Services
from handrail.insight.costs import BookedCall, Price, PricedModel, Unpriced
from handrail.serving.agents.schema import AgentConfig
from handrail.serving.models import ModelTiers
from handrail.telemetry.logging import logger

EVERY_SECONDS = 10.0
# Other processes may have learnt a price, and left calls without one before.
ANYWAY_SECONDS = 3600.0
# The turn of a younger call may not have ended; its end writes what it cost.
YOUNGEST_MICROS = 600 * 1_000_000
PAGE = 200
MOST_RELEASES = 256


@dataclass
class Repricer:
    """Looks when prices have come, and once an hour."""

    services: Services
    _models: OrderedDict[tuple[str, str], Sequence[PricedModel]] = field(
        default_factory=OrderedDict[tuple[str, str], Sequence[PricedModel]]
    )
    _seen: int = -1
    _looked_at: float = 0.0

    async def look(self) -> int:
        """Price what can be; how many calls. Nothing when nothing came, or when another process leads."""
        services, now = self.services, self.services.clock.monotonic()
        version = services.prices.version
        if version == self._seen and now - self._looked_at < ANYWAY_SECONDS:
            return 0
        if not await leads(services):
            return 0
        count = await self._reprice(services.clock.micros() - YOUNGEST_MICROS)
        # What was learnt on the way was used.
        self._seen, self._looked_at = services.prices.version, now
        return count

    async def _reprice(self, before: int) -> int:
        count = 0
        for group in await self.services.usage.unpriced_groups(before=before):
            prices = await self._prices(group)
            if prices:
                count += await self._group(group, prices, before)
        return count

    async def _group(self, group: Unpriced, prices: Sequence[Price], before: int) -> int:
        count, after = 0, ""
        while page := await self.services.usage.unpriced(group, before=before, after=after, limit=PAGE):
            after = page[-1].id
            costs = {each.id: cost for each in page if (cost := _cost(each, prices)) is not None}
            if costs:
                await self._store(group, [each for each in page if each.id in costs], costs)
            count += len(costs)
            await asyncio.sleep(0)
        return count

    async def _store(self, group: Unpriced, calls: Sequence[BookedCall], costs: dict[str, int]) -> None:
        """Costs, what the turns cost, the notes to count anew and the record of it, in one batch."""
        services, at = self.services, self.services.clock.micros()
        turns = await services.usage.of_turns(group.tenant_id, {each.call.turn_id for each in calls})
        async with services.db.batch(long=True) as batch:
            for each in calls:
                services.usage.price(batch, each.id, costs[each.id])
            for turn_id, booked in turns.items():
                known = total([each.priced(costs.get(each.id)) for each in booked])
                if known.cost_micros is not None:
                    services.conversations.price(batch, group.tenant_id, turn_id, known.cost_micros)
            for conversation_id in sorted({each.call.conversation_id for each in calls}):
                services.facts.changed(batch, group.tenant_id, conversation_id, at=at)
            calls_repriced(services, batch, group, len(calls), sum(costs.values()))
        for agent, cost in _by_agent(calls, costs).items():
            services.metrics.insight.cost(agent, group.model, cost)
        logger().info("calls got their price", model=f"{group.provider}/{group.model}", calls=len(calls))

    async def _prices(self, group: Unpriced) -> Sequence[Price]:
        """What a call of this name could have cost; empty when nobody knows."""
        book = self.services.prices
        called = [each for each in await self._called(group) if each.provider == group.provider]
        exact = [each for each in called if each.model == group.model]
        found: list[Price] = []
        for each in exact or called:
            await book.look_up([each, PricedModel(each.url, each.provider, group.model)])
            price = book.price(each.url, group.model) or book.price(each.url, each.model)
            if price is None:
                return []
            found.append(price)
        return found

    async def _called(self, group: Unpriced) -> Sequence[PricedModel]:
        """The models that the release calls; none when it can't be read."""
        key = (group.tenant_id, group.release_id)
        if key not in self._models:
            try:
                self._models[key] = await _models_of(self.services, *key)
            except (HandrailError, KeyError, ValueError) as error:
                if isinstance(error, StoreUnavailable):
                    raise
                self._models[key] = []
            if len(self._models) > MOST_RELEASES:
                self._models.popitem(last=False)
        return self._models[key]


def keep(services: Services) -> "asyncio.Task[None]":
    """Look for as long as this process lives; cancel the task to stop."""
    return asyncio.get_running_loop().create_task(
        every(EVERY_SECONDS, Repricer(services).look, "prices of earlier calls")
    )


async def _models_of(services: Services, tenant_id: str, release_id: str) -> Sequence[PricedModel]:
    """The models that a release names, and what it says of their prices. Read from its files: none of its code runs."""
    sources = await services.releases.sources(tenant_id, release_id)
    config = validate(parse_yaml("agent.yaml", sources.text("agent.yaml")), AgentConfig)
    models = ModelTiers.model_validate(config.models).root.values()
    # As its answers are named on the books.
    return [
        PricedModel(
            services.releases.address_of(each),
            each.provider,
            each.provider if each.provider == "extractive" else each.called_name,
            each.price,
        )
        for each in models
    ]


def _cost(each: BookedCall, prices: Sequence[Price]) -> int | None:
    """The one cost that all prices come to."""
    costs = {price.cost(each.call.usage, each.call.created_at) for price in prices}
    return costs.pop() if len(costs) == 1 else None


def _by_agent(calls: Sequence[BookedCall], costs: dict[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in calls:
        found[each.call.agent] += costs[each.id]
    return found
