"""The list of conversations for staff."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.flows.erasure import erase
from handrail.reports.conversations import ConversationFilters, InvalidCursor, conversations
from tests.flows.test_rollup import ADMIN
from tests.flows.world import World, closed, world_over
from tests.reports.counted import count
from tests.written import ANSWERED, DENIED, FAILED, HANDED_OFF, PARKED, REFUND, Written

HOUR = 3600
TOLD = {
    "answered": ANSWERED,
    "refund": REFUND,
    "failed": FAILED,
    "people": HANDED_OFF,
    "denied": DENIED,
    "waits": PARKED,
}


@pytest.fixture
async def world(db: Database, clock: FrozenClock) -> AsyncIterator[World]:
    made = await world_over(db, clock)
    yield made
    await closed(made)


@pytest.fixture
async def ids(world: World, clock: FrozenClock) -> dict[str, str]:
    """A conversation of each kind, an hour apart; only the first is closed."""
    written = Written(world.db, clock)
    found = {"old": await written.conversation("ana", ANSWERED, channel="openai")}
    clock.advance(30 * HOUR)
    for name, told in TOLD.items():
        found[name] = await written.conversation(f"user-{name}", told)
        clock.advance(HOUR)
    other = Written(world.db, clock, tenant_id="other", _numbers=written._numbers)
    await other.conversation("ana", FAILED)
    await count(world)
    return found


async def listed(world: World, ids: dict[str, str], **more: Any) -> list[str]:
    """The names of those that are found, newest first."""
    page = await conversations(world.db, ConversationFilters("default", **more))
    names = {conversation_id: name for name, conversation_id in ids.items()}
    return [names[each.conversation_id] for each in page.conversations]


async def test_all_come_newest_first(world: World, ids: dict[str, str]) -> None:
    assert await listed(world, ids) == ["waits", "denied", "people", "failed", "refund", "answered", "old"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"escalated": True}, ["people"]),
        ({"escalated": False, "channel": "openai"}, ["old"]),
        ({"failed": True}, ["failed"]),
        ({"tripped": True}, ["denied"]),
        ({"tripped": False, "intent": "order_status"}, ["failed", "answered", "old"]),
        ({"thumbs_down": True}, []),
        ({"resolved": True}, ["old"]),
        ({"resolved": False}, []),
        ({"status": "open"}, ["waits"]),
        ({"status": "closed"}, ["old"]),
        ({"status": "pending", "intent": "refund"}, ["refund"]),
        ({"intent": "refund"}, ["waits", "refund"]),
        ({"subject": "ana"}, ["old"]),
        ({"agent": "another"}, []),
        ({"min_latency_micros": 2_000_000}, ["refund"]),
        ({"min_cost_micros": 101}, []),
        ({"min_cost_micros": 100, "channel": "openai"}, ["old"]),
    ],
)
async def test_those_are_found_that_are_asked_for(
    world: World, ids: dict[str, str], wanted: dict[str, Any], names: list[str]
) -> None:
    assert await listed(world, ids, **wanted) == names


async def test_times_are_of_the_beginning(world: World, ids: dict[str, str], clock: FrozenClock) -> None:
    now = clock.micros()
    assert await listed(world, ids, since=now - 3 * HOUR * 1_000_000) == ["waits", "denied", "people"]
    assert await listed(world, ids, until=now - 20 * HOUR * 1_000_000) == ["old"]


@pytest.mark.parametrize("more", [{}, {"intent": "order_status"}, {"tripped": False}])
async def test_pages_give_everything_once(world: World, ids: dict[str, str], more: dict[str, Any]) -> None:
    filters, cursor, seen = ConversationFilters("default", **more), None, list[str]()
    while True:
        page = await conversations(world.db, filters, cursor=cursor, limit=2)
        seen += [each.conversation_id for each in page.conversations]
        assert len(page.conversations) <= 2
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    whole = await conversations(world.db, filters)
    assert seen == [each.conversation_id for each in whole.conversations]


async def test_conversations_of_one_moment_are_each_on_one_page(world: World, clock: FrozenClock) -> None:
    written = Written(world.db, clock)
    made = {await written.conversation("ana", ANSWERED) for _ in range(5)}
    await count(world)
    filters, cursor, seen = ConversationFilters("default"), None, list[str]()
    for _ in range(3):
        page = await conversations(world.db, filters, cursor=cursor, limit=2)
        seen += [each.conversation_id for each in page.conversations]
        cursor = page.next_cursor
    assert cursor is None
    assert (len(seen), set(seen)) == (5, made)


@pytest.mark.parametrize("cursor", ["", "x", "1", ".conv_1", "-1.conv_1", "9" * 30 + ".c", "\u0661.conv_1"])
async def test_a_made_up_cursor_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await conversations(world.db, ConversationFilters("default"), cursor=cursor)


async def test_an_erased_user_is_not_found_any_more(world: World, ids: dict[str, str]) -> None:
    await erase(world.services, ADMIN, "ana")
    assert await listed(world, ids, subject="ana") == []
    page = await conversations(world.db, ConversationFilters("default", channel="openai"))
    assert [(each.subject, each.status) for each in page.conversations] == [(None, "closed")]
