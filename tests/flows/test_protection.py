"""Protection is judged when it is needed, by the conversation's own release and the stable one: the stricter wins."""

import pytest

from handrail.core.principal import Principal, Role
from handrail.delivery.releases import Sources
from handrail.protection.guardrails import InvalidMessage
from handrail.serving.models import calls
from tests.flows.desk import Desk
from tests.flows.world import PROJECT, World

STRICTER = (
    "permissions: {send_mail: {roles: [operator]}, close_account: {roles: [operator]}}\ninput: {max_characters: 50}\n"
)
LOOSER = "input: {max_characters: 5000}\n"


async def released(world: World, policies: str) -> None:
    """Make another release with these policies stable; open conversations stay with theirs."""
    files = {path: text.encode() for path, text in {**PROJECT, "policies.yaml": policies}.items()}
    made = await world.services.releases.create("default", Sources(files), author="test")
    await world.services.releases.use("default", made.id)


async def test_a_permission_taken_away_is_gone_for_open_conversations_too(world: World, desk: Desk):
    conversation = await world.open()
    await released(world, STRICTER)
    world.script(calls(("send_mail", {"text": "hello"})), "I may not send mail.")
    result = await world.say(conversation, "mail me")
    assert result["release_id"] == conversation.release_id
    assert await world.calls(result["id"]) == [("send_mail", "failed")]
    assert desk.seen == []


async def test_a_permission_given_does_not_reach_a_conversation_that_began_without_it(world: World, desk: Desk):
    operator = Principal("default", "olga", frozenset({Role.END_USER}))
    conversation = await world.open(operator)
    await released(world, LOOSER)
    world.script(calls(("close_account", {})), "I may not.")
    result = await world.say(conversation, "close it", operator)
    assert await world.calls(result["id"]) == [("close_account", "failed")]
    assert desk.seen == []


@pytest.mark.parametrize(("policies", "characters"), [(STRICTER, 51), (LOOSER, 501)])
async def test_the_shorter_of_two_input_limits_holds(world: World, policies: str, characters: int):
    conversation = await world.open()
    await released(world, policies)
    with pytest.raises(InvalidMessage):
        await world.send(conversation, "a" * characters)
    assert (await world.say(conversation, "a" * (characters - 1)))["status"] == "completed"
