"""The WebSocket of a conversation: the same turns and events, one frame each."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import websockets

from handrail.serving.conversations import Streams
from handrail.serving.models import Reply
from tests.flows.world import until
from tests.http.api import Api, Sent, shown


@dataclass
class Socket:
    connection: websockets.ClientConnection

    async def send(self, kind: str, **data: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, "data": data}))

    async def next(self) -> Sent:
        frame = json.loads(await asyncio.wait_for(self.connection.recv(), 5))
        assert frame.keys() == {"id", "event", "data"}
        return Sent(frame["id"], frame["event"], frame["data"])

    async def until(self, *names: str) -> list[Sent]:
        seen = [await self.next()]
        while seen[-1].name not in names:
            seen.append(await self.next())
        return seen

    async def turn(self) -> list[Sent]:
        return await self.until("turn.completed", "turn.failed", "turn.cancelled")

    async def error(self) -> dict[str, Any]:
        event = await self.next()
        assert (event.id, event.name) == (None, "error")
        return event.data["error"]


@asynccontextmanager
async def connected(live: Api, conversation: str) -> AsyncIterator[Socket]:
    url = f"ws{str(live.client.base_url)[4:]}/v1/conversations/{conversation}/ws"
    async with websockets.connect(url) as connection:
        yield Socket(connection)


class TestCreate:
    async def test_streams_the_events_of_the_turn(self, live: Api):
        conversation = await live.open()
        live.world.script("Hello there.")
        async with connected(live, conversation) as socket:
            await socket.send("turn.create", message="hello")
            seen = await socket.turn()
        assert [event.name for event in seen] == [
            "turn.started", "route.decided", "message.started", "message.delta", "message.completed", "turn.completed",
        ]  # fmt: skip
        assert shown(seen) == "Hello there." == await live.world.answer(seen[-1].data["id"])
        assert [event.id for event in seen] == [f"1.{number}" for number in range(1, 7)]

    async def test_with_a_key_twice_is_one_turn(self, live: Api):
        conversation = await live.open()
        async with connected(live, conversation) as socket:
            await socket.send("turn.create", message="hello", idempotency_key="k")
            first = await socket.turn()
            await socket.send("turn.create", message="hello", idempotency_key="k")
            assert await socket.turn() == first
            await socket.send("turn.create", message="bye", idempotency_key="k")
            assert (await socket.error())["code"] == "idempotency_mismatch"

    async def test_queues_a_second_message_and_answers_both(self, live: Api):
        conversation = await live.open()
        live.world.script(Reply(text="a", delay_seconds=0.1), "b")
        async with connected(live, conversation) as socket:
            await socket.send("turn.create", message="1")
            await socket.send("turn.create", message="2")
            seen = [*await socket.until("turn.completed"), *await socket.until("turn.completed")]
        assert "turn.queued" in [event.name for event in seen]
        ends = [event.data["message"]["content"] for event in seen if event.name == "turn.completed"]
        assert ends == ["a", "b"]

    async def test_goes_on_when_the_client_leaves(self, live: Api):
        conversation = await live.open()
        live.world.script(Reply(text="done", delay_seconds=0.1))
        async with connected(live, conversation) as socket:
            await socket.send("turn.create", message="hello")
            await socket.until("turn.started")
        await until(lambda: not live.world.services.running)
        body = (await live.get(f"/v1/conversations/{conversation}")).json()
        assert [each["content"] for each in body["messages"]] == ["hello", "done"]


class TestCancelAndResume:
    async def test_cancel_stops_the_turn(self, live: Api):
        conversation = await live.open()
        live.world.script(Reply(text="never", delay_seconds=30))
        async with connected(live, conversation) as socket:
            await socket.send("turn.create", message="wait")
            turn_id = (await socket.next()).data["turn_id"]
            await socket.send("turn.cancel", turn_id=turn_id)
            assert (await socket.turn())[-1].name == "turn.cancelled"
            await socket.send("turn.cancel", turn_id=(await live.say(conversation, "hi"))["id"])
            assert (await socket.error())["code"] == "turn_over"

    async def test_resume_gives_what_was_missed_and_nothing_twice(self, live: Api):
        conversation = await live.open()
        live.world.script("Hello there.")
        seen = await live.stream(conversation, "hello")
        async with connected(live, conversation) as socket:
            for number, event in enumerate(seen[:-1]):
                await socket.send("resume", turn_id=seen[-1].data["id"], last_event_id=event.id)
                assert await socket.turn() == seen[number + 1 :]

    async def test_resume_after_a_restart_gives_the_transcript_s_text(self, live: Api):
        conversation = await live.open()
        live.world.script("Hello there.")
        seen = await live.stream(conversation, "hello")
        live.world.services.streams = Streams()
        async with connected(live, conversation) as socket:
            await socket.send("resume", turn_id=seen[-1].data["id"], last_event_id=seen[3].id)
            assert shown([*seen[:4], *await socket.turn()]) == "Hello there."

    async def test_of_a_turn_of_another_conversation_is_refused(self, live: Api):
        mine, other = await live.open(), await live.open()
        turn = await live.say(other, "hello")
        async with connected(live, mine) as socket:
            for kind in ("turn.cancel", "resume"):
                await socket.send(kind, turn_id=turn["id"])
                assert (await socket.error())["code"] == "not_found"


class TestBadFrames:
    @pytest.mark.parametrize(
        "frame",
        [
            "nonsense", "[]", "{}",
            '{"type":"turn.explode"}', '{"type":"turn.create"}', '{"type":"turn.cancel","data":{}}',
            '{"type":"turn.create","data":{"message":5}}', '{"type":"turn.create","data":{"message":"x","y":1}}',
            '{"type":"turn.create","data":{"message":""}}', '{"type":"resume","data":{"turn_id":"turn_x"}}',
            '{"type":"resume","data":{"turn_id":"a\\u0000b"}}', '{"type":"turn.create","data":{"message":"\\ud800"}}',
            '{"type":"turn.create","data":{"message":"hi","idempotency_key":"\\u0000"}}',
            '{"type":"turn.create","data":' + '{"a":' * 5_000, b"\x00\x01",
        ],
    )  # fmt: skip
    async def test_are_answered_with_an_error_and_the_socket_stays_open(self, live: Api, frame: str | bytes):
        conversation = await live.open()
        async with connected(live, conversation) as socket:
            await socket.connection.send(frame)
            error = await socket.error()
            assert error.keys() == {"type", "code", "message", "param", "trace_id"}
            await socket.send("turn.create", message="hello")
            assert (await socket.turn())[-1].name == "turn.completed"

    async def test_that_are_too_large_end_the_connection(self, live: Api):
        conversation = await live.open()
        async with connected(live, conversation) as socket:
            await socket.connection.send(json.dumps({"type": "turn.create", "data": {"message": "x" * 300_000}}))
            error = await socket.error()
            assert error["code"] == "body_too_large"

    async def test_that_ask_to_follow_turns_without_end_are_refused(self, live: Api):
        conversation = await live.open()
        live.world.script(Reply(text="never", delay_seconds=30))
        async with connected(live, conversation) as socket:
            await socket.send("turn.create", message="wait")
            turn_id = (await socket.next()).data["turn_id"]
            for _ in range(40):
                await socket.send("resume", turn_id=turn_id, last_event_id="1.3")
            assert "at most 32" in (await socket.until("error"))[-1].data["error"]["message"]

    async def test_of_the_rate_limit_say_when_to_come_back(self, live: Api, clock: Any):
        conversation = await live.open()
        live.world.services.rate_limits = type(live.world.services.rate_limits)(clock, per_minute=60, burst=1)
        async with connected(live, conversation) as socket:
            await socket.send("turn.create", message="hello")
            await socket.turn()
            await socket.send("turn.create", message="again")
            assert (await socket.error())["code"] == "rate_limited"


async def test_a_conversation_that_is_not_there_is_refused_before_the_socket_opens(live: Api):
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connected(live, "conv_nothing"):
            pass
    assert refused.value.response.status_code == 403
