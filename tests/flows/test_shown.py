"""A user sees a tool call as it was made, and in its arguments nothing that no answer may hold."""

from typing import Any

import pytest

from handrail.core import events
from handrail.flows.admission import follow_turn
from handrail.protection.guardrails import KnownStrings, OutputScanner
from handrail.serving.models import calls
from tests.flows.desk import Desk
from tests.flows.world import ANA, World
from tests.http.api import api_over

OWN = "correct-horse-battery"
KEY = "sk-live-51H8xKq2vTz9Lm3"


async def started(world: World, arguments: dict[str, Any]) -> tuple[Any, Any, str, str]:
    """The arguments as the live stream, a replay, and the transcript of the API show them."""
    world.services.output_scanner = OutputScanner(KnownStrings.of([OWN]))
    world.script(calls(("get_order", arguments)), "Here.")
    async with api_over(world) as api:
        conversation = await api.open()
        turn = await api.say(conversation, "where is my order")
        stream = world.services.streams.find(turn["id"])
        assert stream is not None
        live = [each async for batch in stream.batches() for each in batch]
        body = (await api.get(f"/v1/conversations/{conversation}")).json()
    replayed = await replay_of(world, turn["id"])
    shown = next(each["tool_calls"][0]["arguments"] for each in body["messages"] if each["tool_calls"])
    return _arguments(live), _arguments(replayed), shown, turn["id"]


async def replay_of(world: World, turn_id: str) -> list[Any]:
    world.services.streams = type(world.services.streams)()
    return [each async for batch in await follow_turn(world.services, ANA, turn_id, None) for each in batch]


def _arguments(told: list[Any]) -> Any:
    return next(each.data["arguments"] for each in told if each.name == events.TOOL_STARTED)


class TestArguments:
    async def test_are_shown_as_they_are(self, world: World, desk: Desk) -> None:
        desk.acts["get_order"] = lambda order: {"status": "on its way"}
        live, replayed, shown, _ = await started(world, {"order": "A1001"})
        assert live == replayed == {"order": "A1001"}
        assert shown == '{"order":"A1001"}'

    @pytest.mark.parametrize("secret", [OWN, KEY])
    async def test_hold_no_secret_live_replayed_or_in_the_transcript(
        self, world: World, desk: Desk, secret: str
    ) -> None:
        desk.acts["get_order"] = lambda order: {"status": "on its way"}
        live, replayed, shown, turn_id = await started(world, {"order": f"A1 {secret} B2"})
        assert live == replayed == {"order": "A1 [withheld] B2"}
        assert secret not in shown
        (call,) = await world.services.conversations.turn_calls("default", turn_id)
        assert secret in call.arguments, "the tool was called as the model wrote it"
