"""What each text of instructions did, against turns that were really taken, on both databases."""

import hashlib

from sqlalchemy import insert

from handrail.core.clock import FrozenClock
from handrail.db import Prepared
from handrail.delivery.releases.tables import release, release_file
from handrail.flows.feedback import FeedbackWanted, give_feedback
from handrail.reports.filters import Filters
from handrail.reports.instructions import Instructions, by_instructions
from handrail.reports.series import Conversations, Group, Turns, overview
from tests.flows.test_feedback import RITA
from tests.flows.world import ANA, World
from tests.reports.counted import count

HOUR = 3600 * 1_000_000
PATH = "instructions.md"


async def found(world: World, clock: FrozenClock) -> list[Instructions]:
    now = clock.micros()
    seen = await overview(world.db, Filters("default", now - HOUR, now + HOUR), "hour")
    return list(await by_instructions(world.db, "default", seen.releases))


async def store(world: World, release_id: str, text: str) -> None:
    key = {"tenant_id": "default", "agent": world.release.config.name}
    async with world.db.batch() as batch:
        given = {
            **key, "id": release_id, "digest": release_id, "format_version": 1, "author": "test", "created_at": 0
        }  # fmt: skip
        batch.add(Prepared(insert(release), list(given)), given)
        file = {"tenant_id": "default", "release_id": release_id, "path": PATH, "content": text.encode()}
        batch.add(Prepared(insert(release_file), list(file)), file)


async def test_names_the_text_that_answered_as_traces_do(any_world: World, clock: FrozenClock) -> None:
    for _ in range(2):
        await any_world.say(await any_world.open(), "hello")
    await count(any_world)
    (only,) = await found(any_world, clock)
    assert (only.hash, only.agent, only.releases) == (
        any_world.release.instructions_hash,
        any_world.release.config.name,
        [any_world.release.id],
    )
    assert (only.turns.turns, only.turns.failed, only.conversations.conversations) == (2, 0, 2)


async def test_counts_the_thumbs_of_users_that_hold(any_world: World, clock: FrozenClock) -> None:
    conversation = await any_world.open()
    for score in (1, -1, 1):
        turn = await any_world.say(conversation, "hello")
        for each in (-score, score):
            await give_feedback(
                any_world.services, ANA, conversation.id, FeedbackWanted("thumb", each, turn_id=turn["id"])
            )
        await give_feedback(any_world.services, RITA, conversation.id, FeedbackWanted("thumb", -1, turn_id=turn["id"]))
    await count(any_world)
    (only,) = await found(any_world, clock)
    assert (only.conversations.thumbs_up, only.conversations.thumbs_down) == (2, 1)


async def test_adds_up_releases_that_have_the_same_text_and_keeps_those_apart_that_are_not_stored(
    any_world: World, clock: FrozenClock
) -> None:
    same, other = "rel_same", "rel_other"
    await store(
        any_world, same, (await any_world.services.releases.sources("default", any_world.release.id)).text(PATH)
    )
    await store(any_world, other, "another text")
    groups = [
        Group(any_world.release.id, Turns(turns=1, latencies={"simple": {3: 1}}), Conversations(thumbs_up=1)),
        Group(same, Turns(turns=2, failed=1, latencies={"simple": {3: 1, 4: 1}}), Conversations(thumbs_up=2)),
        Group(other, Turns(turns=9), Conversations()),
        Group("rel_gone", Turns(turns=5), Conversations()),
        Group("rel_lost", Turns(turns=4), Conversations()),
    ]
    rows = await by_instructions(any_world.db, "default", groups)
    assert [(each.turns.turns, list(each.releases)) for each in rows] == [
        (9, [other]), (5, ["rel_gone"]), (4, ["rel_lost"]), (3, [any_world.release.id, same])
    ]  # fmt: skip
    assert rows[0].hash == hashlib.sha256(b"another text").hexdigest()[:16]
    assert (rows[1].hash, rows[1].agent) == (None, None)
    assert (rows[3].turns.failed, rows[3].turns.histogram(), rows[3].conversations.thumbs_up) == (1, {3: 2, 4: 1}, 3)


async def test_tells_nothing_of_another_tenants_releases(any_world: World) -> None:
    (only,) = await by_instructions(
        any_world.db, "other", [Group(any_world.release.id, Turns(turns=1), Conversations())]
    )
    assert only.hash is None
