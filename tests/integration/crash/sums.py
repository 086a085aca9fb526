"""What was counted under the killing: counted to its end as the next process does, the sums are those of the rows."""

from pathlib import Path

from sqlalchemy import select

from handrail.bootstrap import services_from
from handrail.db import Prepared
from handrail.flows.rollup import Windows, count_page
from handrail.flows.services import Services
from handrail.insight.traces.tables import trace
from handrail.reports.transcripts import transcripts
from handrail.serving.conversations.tables import conversation
from handrail.settings import Settings
from tests.flows.test_rollup_properties import ROLLUPS, from_scratch, stored_sums, without_nothing

_IDS = Prepared(select(conversation.c.id))
_TRACES = Prepared(select(trace.c.turn_id, trace.c.epoch, trace.c.started_at))


async def miscounted(folder: Path, url: str) -> list[str]:
    """A sentence for each sum that is wrong, and each stretch of a turn that was traced twice. The servers are down."""
    async with services_from(Settings(data_dir=folder, database_url=url)) as services:
        window = Windows(services).of
        while await count_page(services, window):
            pass
        return [*await _wrong_sums(services), *await _twice(services)]


async def _wrong_sums(services: Services) -> list[str]:
    ids = [row["id"] for row in await services.db.scan(_IDS, {})]
    told = await transcripts(services.db, ids)
    _, expected = from_scratch(told, services.clock.micros())
    expected, found = without_nothing(expected), without_nothing(await stored_sums(services.db))
    broken = [f"no turn was counted of {len(told)} conversations"] if not found["turn_rollup"] else []
    return broken + [
        f"miscounted: {name} {key} says {found[name].get(key)}, the rows say {expected[name].get(key)}"
        for name in ROLLUPS
        for key in expected[name].keys() | found[name].keys()
        if expected[name].get(key) != found[name].get(key)
    ]


async def _twice(services: Services) -> list[str]:
    seen = [(row["turn_id"], row["epoch"], row["started_at"]) for row in await services.db.scan(_TRACES, {})]
    broken = [] if seen else ["no trace was written"]
    return broken + [f"traced twice: {each}" for each in set(seen) if seen.count(each) > 1]
