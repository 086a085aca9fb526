"""Conversations and turns over HTTP: bodies, lists, keys, cancelling."""

import asyncio

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Role
from handrail.db import Database
from handrail.protection.audit import AuditQuery
from handrail.serving.models import Reply, calls
from tests.flows.desk import Desk
from tests.flows.spoken import read_all
from tests.flows.world import World, closed, until, world_over
from tests.http.api import Api, api_over, shown


class TestCreate:
    async def test_gives_a_conversation_with_the_agent_s_release(self, api: Api):
        answer = await api.post("/v1/conversations", {"agent": "shop"})
        body = answer.json()
        assert answer.status_code == 201
        assert body["id"].startswith("conv_")
        assert (body["object"], body["agent"], body["release_id"]) == ("conversation", "shop", api.world.release.id)
        assert body["created_at"] == "2026-01-01T00:00:00.000Z"

    async def test_needs_no_body(self, api: Api):
        assert (await api.post("/v1/conversations")).status_code == 201

    async def test_names_an_unknown_agent(self, any_api: Api):
        for agent in ("nobody", "a\0b", "x" * 5000):
            answer = await any_api.post("/v1/conversations", {"agent": agent})
            assert answer.status_code in (404, 422), agent
            assert answer.json()["error"]["param"] == "agent"

    async def test_makes_one_conversation_a_key(self, any_api: Api):
        racers = [any_api.post("/v1/conversations", {}, idempotency_key="k1") for _ in range(10)]
        answers = await asyncio.gather(*racers)
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        other = await any_api.post("/v1/conversations", {"agent": "shop"}, idempotency_key="k1")
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")


class TestRead:
    async def test_shows_what_was_said_in_order(self, api: Api, desk: Desk):
        conversation = await api.open()
        api.world.script(calls(("get_order", {"order": "A1"}), text="Let me see."), "Here.")
        await api.say(conversation, "where is it")
        body = (await api.get(f"/v1/conversations/{conversation}")).json()
        assert [(each["role"], each["content"]) for each in body["messages"]] == [
            ("user", "where is it"), ("assistant", "Let me see."), ("assistant", "Let me see.\n\nHere."),
        ]  # fmt: skip
        assert body["messages"][1]["tool_calls"][0]["name"] == "get_order"

    async def test_says_what_the_conversation_waits_for(self, api: Api):
        conversation = await api.open()
        api.world.head.knows("A1?", "order_status", 0.7)
        await api.say(conversation, "A1?")
        assert (await api.get(f"/v1/conversations/{conversation}")).json()["awaiting"] == "confirm"

    async def test_lists_newest_first_in_pages_that_fit_together(self, any_api: Api):
        opened = [await any_api.open() for _ in range(5)]
        first = (await any_api.get("/v1/conversations?limit=2")).json()
        second = (await any_api.get(f"/v1/conversations?limit=3&cursor={first['next_cursor']}")).json()
        assert [each["id"] for each in first["data"] + second["data"]] == opened[::-1]
        third = (await any_api.get(f"/v1/conversations?limit=3&cursor={second['next_cursor']}")).json()
        assert third == {"data": [], "next_cursor": None}

    async def test_that_staff_list_what_others_said_first_is_recorded(self, api: Api):
        await api.get("/v1/conversations", key=await api.key())
        await api.get("/v1/conversations", key=await api.key("vera", role=Role.VIEWER))
        await api.world.services.audit.flush()
        query = AuditQuery("default", action="conversations.listed")
        assert len(await api.world.services.audit.store.search(query)) == 1

    @pytest.mark.parametrize("limit", ["0", "-1", "201", "x", "1e3", "\u00b2", "9" * 400])
    async def test_refuses_a_limit_out_of_range(self, api: Api, limit: str):
        answer = await api.get(f"/v1/conversations?limit={limit}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")


class TestTurn:
    async def test_gives_the_documented_body(self, api: Api):
        conversation = await api.open()
        api.world.script("Hello there.")
        answer = await api.post(f"/v1/conversations/{conversation}/turns", {"message": "hello"})
        body = answer.json()
        assert body.keys() >= {"id", "object", "conversation_id", "status", "message", "route", "usage", "release_id"}
        assert (body["object"], body["status"], body["conversation_id"]) == ("turn", "completed", conversation)
        assert body["message"]["content"] == "Hello there."
        assert body["usage"] == {"input_tokens": 10, "output_tokens": 5, "cost_micros": None}
        assert answer.headers["x-handrail-overhead-ms"] == str(body["overhead_ms"])
        assert float(answer.headers["x-handrail-overhead-ms"]) > 0

    async def test_reads_the_same_afterwards(self, any_api: Api):
        conversation = await any_api.open()
        any_api.world.head.knows("A1?", "order_status", 0.7)
        said = await any_api.say(conversation, "A1?")
        stored = (await any_api.get(f"/v1/turns/{said['id']}")).json()
        assert {name: stored.get(name) for name in said if name != "awaiting"} == {
            name: value for name, value in said.items() if name != "awaiting"
        }

    async def test_that_fails_is_an_answer_and_no_500(self, api: Api):
        conversation = await api.open()
        api.world.script(RuntimeError("boom"))
        answer = await api.post(f"/v1/conversations/{conversation}/turns", {"message": "hello"})
        assert (answer.status_code, answer.json()["status"]) == (200, "failed")
        assert answer.json()["error"]["code"] == "internal"
        assert "boom" not in answer.text

    async def test_streams_when_asked_and_ends_with_the_same_body(self, api: Api):
        conversation = await api.open()
        api.world.script("Hello there.")
        seen = await api.stream(conversation, "hello")
        last = seen[-1]
        assert shown(seen) == "Hello there."
        assert last.name == "turn.completed"
        assert last.data["overhead_ms"] > 0
        stored = (await api.get(f"/v1/turns/{last.data['id']}")).json()
        assert stored["message"] == last.data["message"]

    async def test_of_a_fifth_at_once_is_told_to_come_back(self, api: Api):
        conversation = await api.open()
        api.world.script(Reply(text="ok", delay_seconds=0.2), repeats=True)
        path = f"/v1/conversations/{conversation}/turns"
        first = asyncio.create_task(api.post(path, {"message": "1"}))
        await until(lambda: len(api.world.services.running) == 1)
        waiting = [asyncio.create_task(api.post(path, {"message": str(number)})) for number in (2, 3, 4)]
        await until(lambda: len(api.world.services.waiting) == 3)
        refused = await api.post(path, {"message": "5"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conversation_busy")
        assert int(refused.headers["retry-after"]) >= 1
        answers = await asyncio.gather(first, *waiting)
        assert [answer.json()["status"] for answer in answers] == ["completed"] * 4

    async def test_over_the_rate_says_when_to_come_back(self, sqlite_db: Database, clock: FrozenClock, desk: Desk):
        world = await world_over(sqlite_db, clock, burst=1)
        async with api_over(world) as api:
            conversation = await api.open()
            await api.say(conversation, "one")
            refused = await api.post(f"/v1/conversations/{conversation}/turns", {"message": "two"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert int(refused.headers["retry-after"]) in (1, 2)
        await closed(world)


class TestIdempotencyKey:
    async def test_gives_the_same_turn_again(self, api: Api):
        conversation = await api.open()
        first = await api.say(conversation, "hello", idempotency_key="k")
        again = await api.say(conversation, "hello", idempotency_key="k")
        assert first == again
        assert len(api.world.model.requests) == 1

    async def test_with_another_body_is_refused(self, api: Api):
        conversation = await api.open()
        await api.say(conversation, "hello", idempotency_key="k")
        answer = await api.post(f"/v1/conversations/{conversation}/turns", {"message": "bye"}, idempotency_key="k")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "idempotency_mismatch")
        assert answer.json()["error"]["param"] == "Idempotency-Key"

    async def test_counts_in_its_own_conversation_only(self, api: Api):
        one, two = await api.open(), await api.open()
        first = await api.say(one, "hello", idempotency_key="k")
        second = await api.say(two, "hello", idempotency_key="k")
        assert first["id"] != second["id"]

    @pytest.mark.parametrize("key", ["", "  ", "k" * 256])
    async def test_of_no_or_too_many_characters_is_refused(self, api: Api, key: str):
        conversation = await api.open()
        answer = await api.post(f"/v1/conversations/{conversation}/turns", {"message": "hello"}, idempotency_key=key)
        assert answer.status_code == 400

    async def test_streams_the_turn_that_is_on_its_way(self, live: Api):
        conversation = await live.open()
        live.world.script(Reply(text="slowly said", piece=3, gap_seconds=0.02))
        path = f"/v1/conversations/{conversation}/turns"
        first = asyncio.create_task(live.post(path, {"message": "hello"}, idempotency_key="k"))
        await until(lambda: len(live.world.services.running) == 1)
        again = await live.post(path, {"message": "hello"}, idempotency_key="k", accept="text/event-stream")
        assert (await first).json()["id"] in again.text
        assert len(live.world.model.requests) == 1


class TestCancel:
    async def test_ends_the_turn_and_keeps_what_was_said(self, live: Api):
        conversation = await live.open()
        live.world.script(Reply(text="one two three", piece=4, gap_seconds=30))
        path = f"/v1/conversations/{conversation}/turns"
        sent = asyncio.create_task(live.post(path, {"message": "count"}))
        await until(lambda: len(live.world.services.running) == 1)
        (turn_id,) = live.world.services.running
        stream = live.world.services.streams.find(turn_id)
        assert stream is not None
        await until(lambda: stream.text != "")
        answer = await live.post(f"/v1/turns/{turn_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert answer.json()["message"]["content"].startswith("one ")
        assert (await sent).json()["status"] == "cancelled"

    async def test_of_an_ended_turn_is_a_conflict(self, api: Api):
        turn = await api.say(await api.open(), "hello")
        answer = await api.post(f"/v1/turns/{turn['id']}/cancel")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "turn_over")


class TestFullDisk:
    @pytest.fixture
    def full(self, world: World):
        """The database takes no writes, as with a full disk: its file may not grow any more."""
        connection = world.db._writer_connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]

        def fill() -> None:
            connection.execute(f"PRAGMA max_page_count={pages}")

        def free() -> None:
            connection.execute("PRAGMA max_page_count=1073741823")

        return fill, free

    async def test_refuses_with_503_stores_nothing_half_and_recovers(self, api: Api, full):
        fill, free = full
        conversation = await api.open()
        fill()
        message = "x" * 400
        refused = None
        for _ in range(200):
            refused = await api.post(f"/v1/conversations/{conversation}/turns", {"message": message})
            if refused.status_code != 200 or refused.json()["status"] != "completed":
                break
        assert refused is not None
        if refused.status_code == 200:
            refused = await api.post(f"/v1/conversations/{conversation}/turns", {"message": message})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert refused.json()["error"]["type"] == "api_error"
        before = (await api.get(f"/v1/conversations/{conversation}")).json()["messages"]
        free()
        said = await api.say(conversation, "are you back?")
        assert said["status"] == "completed"
        after = (await api.get(f"/v1/conversations/{conversation}")).json()["messages"]
        assert [each["content"] for each in after[-2:]] == ["are you back?", said["message"]["content"]]
        assert (
            len([each for each in after if each["role"] == "user"])
            == len([each for each in before if each["role"] == "user"]) + 1
        )


class TestSearch:
    async def test_finds_what_was_said_with_the_text_around_it(self, any_api: Api):
        conversation = await any_api.open()
        await any_api.open()
        await any_api.say(conversation, "my green umbrella is gone")
        await read_all(any_api.world.services)
        body = (await any_api.get("/v1/conversations?q=umbrella+green")).json()
        assert [each["id"] for each in body["data"]] == [conversation]
        assert [part["text"] for part in body["data"][0]["match"] if part["is_found"]] == ["green", "umbrella"]
        assert body["search"] == {
            "opened": 1, "is_cut": False, "waiting": 0, "left_out": [], "has_identifier": False,
        }  # fmt: skip
        assert (await any_api.get("/v1/conversations?q=parasol")).json()["data"] == []
        looked = (await any_api.get("/v1/conversations?q=the+ann@example.org")).json()["search"]
        assert (looked["left_out"], looked["has_identifier"]) == (["the"], True)
        assert (await any_api.get("/v1/conversations?q=green&cursor=x")).status_code == 400

    async def test_of_a_user_is_among_their_own(self, any_api: Api):
        ana, bo = await any_api.key("ana"), await any_api.key("bo")
        staff = await any_api.key("vera", role=Role.VIEWER)
        for key in (ana, bo):
            await any_api.say(await any_api.open(key), "my umbrella is gone", key=key)
        await read_all(any_api.world.services)
        for key, count in ((ana, 1), (bo, 1), (staff, 2)):
            assert len((await any_api.get("/v1/conversations?q=umbrella", key=key)).json()["data"]) == count

    async def test_for_an_identifier_is_for_who_may_read_them(self, any_api: Api):
        ana, admin = await any_api.key("ana"), await any_api.key("root", role=Role.ADMIN)
        conversation = await any_api.open(ana)
        await any_api.say(conversation, "write to ann.lee@example.org", key=ana)
        await read_all(any_api.world.services)
        wanted = {"identifier": "Ann.Lee@EXAMPLE.org"}
        body = (await any_api.post("/v1/conversations/search", wanted, key=admin)).json()
        assert [each["id"] for each in body["data"]] == [conversation]
        assert "ann.lee" not in str(body["data"][0]["match"])
        assert (await any_api.post("/v1/conversations/search", wanted, key=ana)).status_code == 403
        for wrong in ({}, {"identifier": ""}, {"identifier": "--"}, {"identifier": "x" * 501}):
            assert (await any_api.post("/v1/conversations/search", wrong, key=admin)).status_code in (400, 422)
