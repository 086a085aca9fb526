"""A report that found nothing: was it narrowed to a name that nothing has? Zeros would hide a slip of the hand."""

from collections.abc import Mapping

from handrail.core.errors import NotFound
from handrail.db import Database
from handrail.flows.releases import Releases
from handrail.reports.filters import NARROWS
from handrail.reports.series import ever

MOST_NAMED = 20
# What opens conversations; what came by others is in the sums.
CHANNELS = ("api", "console", "openai")
_TITLES = {"agent": "agent", "release_id": "release", "intent": "intent", "channel": "channel"}


async def require_known(db: Database, releases: Releases, tenant_id: str, narrowed: Mapping[str, str | None]) -> None:
    """Raises `NotFound` for a name that no release and no turn of the tenant ever had, with those that there are."""
    unknown = await unknown_name(db, releases, tenant_id, narrowed)
    if unknown is not None:
        raise unknown


async def unknown_name(
    db: Database, releases: Releases, tenant_id: str, narrowed: Mapping[str, str | None]
) -> NotFound | None:
    """The same for a page, which says it and shows what there is."""
    wanted = {name: value for name, value in narrowed.items() if name in NARROWS and value is not None}
    if not wanted:
        return None
    known = {name: set(values) for name, values in (await ever(db, tenant_id)).items()}
    known["agent"] |= {each.name for each in await releases.agents(tenant_id)}
    known["intent"] |= releases.intents_of(tenant_id)
    known["channel"] |= set(CHANNELS)
    if "release_id" in wanted:
        known["release_id"] |= {each.id for each in await releases.list(tenant_id, limit=1000)}
    for name, value in wanted.items():
        if value not in known[name]:
            there = sorted(known[name])
            more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
            names = f"there are: {', '.join(there[:MOST_NAMED])}{more}" if there else "there is none yet"
            return NotFound(f"there is no {_TITLES[name]} {value[:200]!r}; {names}", param=name)
    return None
