"""Content that lies readable, or under a retired key, is sealed anew while turns go on; keys are rotated."""

from collections.abc import Mapping
from typing import Any

from handrail.core.jobs import DEPLOYMENT, Task
from handrail.flows.data_classes import SEALED
from handrail.flows.services import Services
from handrail.protection.encryption import SubjectKeys

PAGE = 200
State = Mapping[str, Any]


async def seal_page(services: Services, _task: Task, state: State) -> State:
    """The next rows of one table; at the end of the last one the keys that nothing needs are destroyed."""
    keys, encryption = services.encryption.require_keys(), services.encryption
    resealing = await encryption.resealing(SEALED)
    at = state.get("at") or services.clock.micros()
    place, report = state.get("place", 0), dict(state.get("report", {}))
    if place < len(resealing.tables):
        name = resealing.tables[place]
        after, count = await resealing.page(name, after=state.get("after", ""), limit=PAGE)
        report[name] = report.get(name, 0) + count
        place, after = (place + 1, "") if after is None else (place, after)
        return {"at": at, "place": place, "after": after, "report": report}
    await _read_again(services)
    report["keys_destroyed"] = await resealing.finish(retired_before=at - _grace(services, keys))
    return {"done": True, "report": {DEPLOYMENT: report}}


async def rewrap_page(services: Services, _task: Task, state: State) -> State:
    """A hundred data keys are put under the current master key; when none is left the older ones may go."""
    keys, total = services.encryption.require_keys(), state.get("rewrapped", 0)
    count = await keys.rewrap()
    if count:
        return {"rewrapped": total + count}
    return {"done": True, "report": {DEPLOYMENT: {"rewrapped": total}}}


async def renew_page(services: Services, _task: Task, state: State) -> State:
    """Every data key that was made before gets a new version; the `encryption` job then seals everything with it."""
    keys = services.encryption.require_keys()
    at, total = state.get("at") or services.clock.micros(), state.get("renewed", 0)
    count = await keys.renew_older(at)
    if count:
        return {"at": at, "renewed": total + count}
    await _read_again(services)
    return {"done": True, "report": {DEPLOYMENT: {"renewed": total}}}


async def _read_again(services: Services) -> None:
    """What was hashed with an older key of its tenant is read into the index of words anew."""
    for tenant_id in await services.search.tenants():
        key = await services.search.keys.of(tenant_id)
        async with services.db.batch(long=True) as batch:
            services.search.read_others_again(batch, tenant_id, key.name, at=services.clock.micros())


def _grace(services: Services, keys: SubjectKeys) -> int:
    """How long another process may seal with a key that was retired, because it has it at hand."""
    return 0 if services.limits.sole_owner else int(keys.seconds * 1_000_000)
