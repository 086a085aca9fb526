"""What people read of somebody else's conversation: handles where identifiers stand, unless they may read those too."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal, Role
from handrail.db import Database
from handrail.flows.access_request import told_of
from handrail.flows.admission import follow_turn
from handrail.flows.approval import DecisionInvalid, decide
from handrail.flows.approval_desk import look_closely, shown_to
from handrail.oversight.approvals import Approval
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.protection.privacy import handles_in
from handrail.serving.models import calls
from tests.flows.desk import Desk
from tests.flows.test_personal import MAIL, SHOP, found
from tests.flows.world import ANA, World, closed, until, world_over

OLGA = Principal("default", "olga", frozenset({Role.APPROVER}))
MARA = Principal("default", "mara", frozenset({Role.APPROVER}), frozenset({"approvals:read", "personal:read"}))
ADAM = Principal("default", "adam", frozenset({Role.ADMIN}))
POLICIES = """
privacy: {tokens: [email, card]}
approvals:
- {name: letters, tools: [write_to], reason: "To {{ args.to }}"}
"""


@pytest.fixture
async def shop(sqlite_db: Database, clock: FrozenClock, desk: Desk) -> AsyncIterator[World]:
    world = await world_over(sqlite_db, clock, project={**SHOP, "policies.yaml": POLICIES})
    yield world
    await closed(world)


async def waiting(world: World) -> Approval:
    """A letter that waits for a person; the model wrote handles."""
    world.script(
        lambda request: (
            "Done."
            if request.messages[-1].role == "tool"
            else calls(("write_to", {"to": handles_in(request.messages[0].content)[0], "text": "hello"}))
        )
    )
    result = await world.say(await world.open(), f"write to {MAIL}")
    (approval,) = await world.services.approvals.of_turn("default", result["id"])
    return approval


async def edited(world: World, approval: Approval, **arguments: Any) -> Approval:
    return await decide(
        world.services,
        OLGA,
        approval.id,
        "edit",
        fingerprint=approval.fingerprint,
        arguments=arguments,
        reason="shorter",
    )


class TestApprovals:
    async def test_show_handles_to_who_decides(self, shop: World):
        approval = await waiting(shop)
        assert approval.call.arguments["to"] == MAIL
        seen = await look_closely(shop.services, OLGA, approval.id)
        (listed,) = await shown_to(shop.services, OLGA, [approval])
        for body in (seen.whole_body(), listed.body()):
            assert handles_in(body["arguments"]["to"]) == [body["arguments"]["to"]]
            assert MAIL not in str(body)
            assert body["fingerprint"] == approval.fingerprint

    @pytest.mark.parametrize("reader", [MARA, ADAM])
    async def test_show_values_to_who_may_read_them_and_note_it(self, shop: World, reader: Principal):
        approval = await waiting(shop)
        seen = await look_closely(shop.services, reader, approval.id)
        assert seen.approval.call.arguments["to"] == MAIL
        (record,) = await found(shop, action="personal.read")
        assert record["target"] == f"approval:{approval.id}"
        assert MAIL not in str(record)

    async def test_reading_handles_is_no_reading_of_values(self, shop: World):
        approval = await waiting(shop)
        await look_closely(shop.services, OLGA, approval.id)
        assert await found(shop, action="personal.read") == []

    async def test_an_approval_by_handles_is_for_the_value(self, shop: World, desk: Desk):
        approval = await waiting(shop)
        seen = await look_closely(shop.services, OLGA, approval.id)
        await decide(shop.services, OLGA, approval.id, "approve", fingerprint=seen.approval.fingerprint)
        await until(lambda: approval.call.turn_id not in shop.services.running)
        assert desk.seen == [("write_to", {"to": MAIL, "text": "hello"})]


class TestEdits:
    async def test_what_was_left_as_shown_is_what_it_was(self, shop: World, desk: Desk):
        approval = await waiting(shop)
        shown = (await look_closely(shop.services, OLGA, approval.id)).approval.call.arguments["to"]
        after = await edited(shop, approval, to=shown, text="bye")
        assert after.call.arguments == {"to": MAIL, "text": "bye"}
        await until(lambda: approval.call.turn_id not in shop.services.running)
        assert desk.seen == [("write_to", {"to": MAIL, "text": "bye"})]

    async def test_a_handle_is_its_value_where_the_parameter_is_personal_and_nowhere_else(self, shop: World):
        approval = await waiting(shop)
        shown = (await look_closely(shop.services, OLGA, approval.id)).approval.call.arguments["to"]
        after = await edited(shop, approval, to=[shown, "x"], text=f"for {shown}")
        assert after.call.arguments == {"to": [MAIL, "x"], "text": f"for {shown}"}

    async def test_a_handle_of_another_conversation_is_refused(self, shop: World):
        approval = await waiting(shop)
        with pytest.raises(DecisionInvalid, match="no handle of this conversation"):
            await edited(shop, approval, to="<email_000000000000>", text="bye")


class TestQuestions:
    async def test_reach_the_user_with_their_own_values(self, shop: World):
        approval = await waiting(shop)
        shown = (await look_closely(shop.services, OLGA, approval.id)).approval
        question = f"Is {shown.call.arguments['to']} right?"
        await decide(shop.services, OLGA, approval.id, "info", fingerprint=shown.fingerprint, reason=question)
        assert f"Is {MAIL} right?" in await shop.answer(approval.call.turn_id)
        asked = (await look_closely(shop.services, OLGA, approval.id)).whole_body()
        assert MAIL not in str(asked)
        assert asked["questions"][0]["question"] == question

    async def test_are_told_to_the_user_who_asks_what_is_stored_of_them(self, shop: World):
        approval = await waiting(shop)
        await decide(shop.services, OLGA, approval.id, "info", fingerprint=approval.fingerprint, reason="Which Ann?")
        *_, line = [each async for each in await told_of(shop.services, LOCAL_OPERATOR, ANA.subject)]
        assert [each["question"] for each in json.loads(line)["approval_questions"]] == ["Which Ann?"]


class TestFollowing:
    async def test_shows_staff_the_whole_answer_with_handles(self, shop: World):
        shop.script(f"I write to {MAIL} now.")
        stream = await shop.send(await shop.open(), f"write to {MAIL}")
        await stream.wait()
        seen = [each async for batch in await follow_turn(shop.services, OLGA, stream.turn_id, None) for each in batch]
        assert MAIL not in str(seen)
        assert "message.delta" not in [each.name for each in seen]
        said = next(each.data["content"] for each in seen if each.name == "message.completed")
        assert said.startswith("I write to <email_")
        assert seen[-1].name == "turn.completed"

    async def test_is_recorded_of_staff_and_not_of_the_user(self, shop: World):
        shop.script("Fine.")
        stream = await shop.send(await shop.open(), "hello there")
        await stream.wait()
        for reader in (ANA, OLGA):
            await follow_turn(shop.services, reader, stream.turn_id, None)
        (record,) = await found(shop, action="conversation.read")
        assert record["actor"] is not None

    @pytest.mark.parametrize("reader", [ANA, ADAM])
    async def test_shows_its_user_and_admins_the_values(self, shop: World, reader: Principal):
        shop.script(f"I write to {MAIL} now.")
        stream = await shop.send(await shop.open(), f"write to {MAIL}")
        await stream.wait()
        seen = [
            each async for batch in await follow_turn(shop.services, reader, stream.turn_id, None) for each in batch
        ]
        said = next(each.data["content"] for each in seen if each.name == "message.completed")
        assert said == f"I write to {MAIL} now."
