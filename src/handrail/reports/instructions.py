"""Quality, cost and latency by the instructions that answered: the sums of all releases that have the same ones.

Read-only. A release never changes, so what its turns came to is what its instructions came to.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, literal_column

from handrail.core import json
from handrail.db import Database, Prepared, keys_of, scoped
from handrail.delivery.releases.tables import release as _r
from handrail.delivery.releases.tables import release_file as _f
from handrail.reports.series import Conversations, Group, Turns

HASH_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Instructions:
    """What one text of instructions did in a time.

    Attributes:
        hash: the beginning of its SHA-256, as in traces; None for a release that is not stored here.
        releases: those that have it, the one with most turns first.
        conversations: by the release in which they began.
    """

    hash: str | None
    agent: str | None
    releases: Sequence[str]
    turns: Turns
    conversations: Conversations


_INSTRUCTIONS = Prepared(
    scoped(_r, _r.c.id, _r.c.agent, _f.c.content)
    .join(_f, and_(_f.c.tenant_id == _r.c.tenant_id, _f.c.release_id == _r.c.id))
    .where(_r.c.id.in_(keys_of("ids")), _f.c.path == literal_column("'instructions.md'"))
)


async def by_instructions(db: Database, tenant_id: str, releases: Sequence[Group]) -> Sequence[Instructions]:
    """What releases did, by their instructions; those with most turns first."""
    known = await _known(db, tenant_id, [each.name for each in releases])
    groups: dict[tuple[str | None, str], list[Group]] = {}
    for each in releases:
        hash, agent = known.get(each.name, (None, ""))
        # What is not known is not thrown together.
        groups.setdefault((agent or None, hash or each.name), []).append(each)
    found = [
        Instructions(
            known.get(group[0].name, (None, ""))[0],
            agent,
            [each.name for each in group],
            Turns.added(each.turns for each in group),
            Conversations.added(each.conversations for each in group),
        )
        for (agent, _), group in groups.items()
    ]
    return sorted(found, key=lambda each: -each.turns.turns)


async def hashes(db: Database, tenant_id: str, releases: Sequence[str]) -> Mapping[str, str]:
    """By release that is stored here, the hash of its instructions."""
    return {name: hash for name, (hash, _) in (await _known(db, tenant_id, releases)).items()}


async def _known(db: Database, tenant_id: str, releases: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    """By release, the hash of its instructions and its agent."""
    if not releases:
        return {}
    ids = json.dumps(dict.fromkeys(releases, 1))
    rows = await db.scan(_INSTRUCTIONS, {"tenant_id": tenant_id, "ids": ids})
    return {row["id"]: (hashlib.sha256(row["content"]).hexdigest()[:HASH_LENGTH], row["agent"]) for row in rows}
