"""What must hold across the tables: it does after turns of every kind, and each breach is found and named."""

import pytest
from sqlalchemy import delete, update

from handrail.db import Prepared, metadata
from handrail.reports.invariants import INVARIANTS, findings
from tests.flows.desk import Desk
from tests.flows.world import World

_TURN, _MESSAGE, _CONVERSATION = (metadata.tables[name] for name in ("turn", "message", "conversation"))


async def broken(world: World) -> dict[str, int]:
    return {each.name: each.rows for each in await findings(world.services.db) if not each.holds}


async def tell(world: World) -> None:
    world.head.knows("where is A1001", "order_status")
    world.head.knows("refund A1001", "refund")
    for messages in (["hello there"], ["where is A1001"], ["refund A1001", "yes"], ["refund A1001", "no"]):
        conversation = await world.open()
        for message in messages:
            await world.say(conversation, message)
    await world.open()


async def change(world: World, statement: object) -> None:
    async with world.db.batch() as batch:
        batch.add(Prepared(statement), {})  # pyright: ignore[reportArgumentType]


BREACHES = {
    "turn_leases": lambda turn: (
        update(_TURN).where(_TURN.c.id == turn).values(status="running", ended_at=None, owner=None)
    ),
    "turn_ends": lambda turn: update(_TURN).where(_TURN.c.id == turn).values(ended_at=None),
    "turn_numbers": lambda turn: update(_TURN).where(_TURN.c.id == turn).values(seq=9),
    "messages": lambda turn: (
        update(_MESSAGE).where(_MESSAGE.c.turn_id == turn, _MESSAGE.c.position == 0).values(position=7)
    ),
    "parked_turns": lambda turn: update(_TURN).where(_TURN.c.id == turn).values(status="requires_action"),
}


class TestInvariants:
    async def test_hold_after_turns_of_every_kind(self, any_world: World, desk: Desk) -> None:
        desk.acts["get_order"] = lambda order: {"status": "on its way"}
        await tell(any_world)
        assert await broken(any_world) == {}
        assert len(INVARIANTS) == len(await findings(any_world.services.db))

    @pytest.mark.parametrize("name", BREACHES)
    async def test_name_what_is_broken_and_the_first_rows(self, any_world: World, name: str) -> None:
        conversation = await any_world.open()
        turn = (await any_world.say(conversation, "hello there"))["id"]
        await change(any_world, BREACHES[name](turn))
        found = {each.name: each for each in await findings(any_world.services.db)}
        assert found[name].rows == 1
        assert list(found[name].examples) == [conversation.id if name == "turn_numbers" else turn]

    async def test_a_turn_without_its_message_is_found(self, any_world: World) -> None:
        turn = (await any_world.say(await any_world.open(), "hello there"))["id"]
        await change(any_world, delete(_MESSAGE).where(_MESSAGE.c.turn_id == turn))
        assert await broken(any_world) == {"messages": 1}
