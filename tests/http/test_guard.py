"""A server without keys serves this machine only, and no page of another site."""

import asyncio
import json

import pytest
import websockets

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.http.followers import Followers
from handrail.serving.models import Reply
from handrail.serving.resilience import Admission, AdmissionLimits, TenantOverloaded
from tests.flows.world import World, closed, until, world_over
from tests.http.api import PORT, Api, served

LOCAL_HOSTS = [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"]
FOREIGN_HOSTS = [
    "evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:9", f"localhost.evil.example:{PORT}",
    f"127.0.0.1.evil.example:{PORT}", f"127.0.0.1@evil.example:{PORT}", f"2130706433:{PORT}", f"0.0.0.0:{PORT}",
    f"localhost.:{PORT}", "[::1", f"127.0.0.1:{PORT}x", "",
]  # fmt: skip
FOREIGN_ORIGINS = [
    "https://evil.example", f"http://evil.example:{PORT}", "null", "", "http://127.0.0.1", "http://127.0.0.1:9",
    f"file://127.0.0.1:{PORT}", f"http://127.0.0.1:{PORT}.evil.example", f"chrome-extension://127.0.0.1:{PORT}",
]  # fmt: skip


class TestWithoutKeys:
    @pytest.mark.parametrize("host", LOCAL_HOSTS)
    async def test_serves_its_own_names(self, api: Api, host: str):
        assert (await api.get("/v1/conversations", host=host)).status_code == 200

    @pytest.mark.parametrize("host", FOREIGN_HOSTS)
    async def test_refuses_other_hosts_on_every_kind_of_route(self, api: Api, host: str):
        """A name that was rebound to 127.0.0.1 still stands in the Host header."""
        for path in ("/v1/conversations", "/", "/console/chat", "/metrics", "/openapi.json"):
            answer = await api.get(path, host=host)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin"), path

    @pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
    async def test_refuses_other_origins_where_something_changes(self, api: Api, origin: str):
        conversation = await api.open()
        for path in (
            "/v1/conversations", f"/v1/conversations/{conversation}/turns", "/v1/chat/completions", "/console/chat",
        ):  # fmt: skip
            answer = await api.post(path, {}, origin=origin)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin"), path
        assert api.world.model.requests == []

    async def test_takes_posts_from_its_own_pages(self, api: Api):
        for host in ("127.0.0.1", "localhost"):
            assert (await api.post("/v1/conversations", {}, origin=f"http://{host}:{PORT}")).status_code == 201

    async def test_refuses_a_form_post_that_a_page_could_send_without_asking(self, api: Api):
        conversation = await api.open()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = await api.client.post(
                f"/v1/conversations/{conversation}/turns",
                content=b'{"message":"refund A1001"}',
                headers={"content-type": kind},
            )
            assert answer.status_code == 415

    async def test_takes_json_with_a_character_set(self, api: Api):
        conversation = await api.open()
        answer = await api.client.post(
            f"/v1/conversations/{conversation}/turns",
            content='{"message":"grüß dich"}'.encode(),
            headers={"content-type": "Application/JSON; charset=utf-8"},
        )
        assert answer.status_code == 200

    async def test_lets_no_page_of_another_site_open_a_websocket(self, live: Api):
        conversation = await live.open()
        base = str(live.client.base_url).rstrip("/")
        url = f"ws{base[4:]}/v1/conversations/{conversation}/ws"
        for origin in ("https://evil.example", "null", "http://127.0.0.1:9"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(url, additional_headers={"origin": origin})
            assert refused.value.response.status_code == 403
        rebound = url.replace("127.0.0.1", "evil.example")
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(rebound, host="127.0.0.1")
        async with websockets.connect(url, additional_headers={"origin": base}):
            pass


class TestWithKeys:
    async def test_the_key_is_the_guard_whatever_the_host(self, api: Api):
        key = await api.key()
        await api.get("/v1/conversations", key=key)
        answer = await api.get("/v1/conversations", key=key, host="agents.example.com")
        assert answer.status_code == 200
        assert (await api.get("/v1/conversations", host="agents.example.com")).status_code == 401

    async def test_a_page_without_a_key_shows_no_conversation(self, api: Api):
        conversation = await api.open()
        await api.say(conversation, "my secret is plum")
        await api.key()
        await api.get("/v1/conversations")
        page = await api.get(f"/console/chat?conversation={conversation}")
        assert "plum" not in page.text
        same_origin = {"sec-fetch-site": "same-origin"}
        posted = await api.client.post(
            "/console/chat",
            data={"message": "hi", "conversation": conversation},
            headers=same_origin,
        )
        assert posted.status_code == 401


class TestWhatIsOpenAtOnce:
    async def test_is_bounded_and_who_comes_beyond_it_is_told_when_to_come_back(self, world: World):
        world.script(Reply(text="one two", piece=4, gap_seconds=30), repeats=True)
        async with served(world, most_open=2) as live:
            first, second = await live.open(), await live.open()
            turns = [
                asyncio.create_task(live.post(f"/v1/conversations/{each}/turns", {"message": "count"}))
                for each in (first, second)
            ]
            await until(lambda: len(world.services.running) == 2)
            refused = await live.get("/v1/conversations")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"] == "1"
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await live.get(path)).status_code == 200, path
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(live.socket_url(first))
            for task in world.services.running.values():
                task.cancel()
            await asyncio.gather(*turns)
            assert (await live.get("/v1/conversations")).status_code == 200


class TestWhatATenantFollows:
    async def test_is_bounded_and_leaves_the_others_their_connections(self, world: World):
        world.script(Reply(text="one two", piece=4, gap_seconds=30), repeats=True)
        async with served(world, most_followers=2) as live:
            conversation = await live.open()
            turn = asyncio.create_task(live.post(f"/v1/conversations/{conversation}/turns", {"message": "count"}))
            await until(lambda: len(world.services.running) == 1)
            (turn_id,) = world.services.running
            path = f"/v1/turns/{turn_id}/events"
            async with live.client.stream("GET", path), websockets.connect(live.socket_url(conversation)) as socket:
                await socket.ping()
                refused = await live.get(path)
                assert (refused.status_code, refused.json()["error"]["code"]) == (429, "tenant_overloaded")
                assert refused.headers["retry-after"] == "2"
                with pytest.raises(websockets.InvalidStatus):
                    await websockets.connect(live.socket_url(conversation))
                assert (await live.get("/v1/conversations")).status_code == 200
            world.services.running[turn_id].cancel()
            await turn
            assert (await live.get(path)).status_code == 200

    def test_is_counted_tenant_by_tenant_and_forgotten_when_it_is_closed(self):
        followers = Followers(1)
        with followers.one("a"):
            followers.require("b")
            with pytest.raises(TenantOverloaded, match="1 event streams"):
                followers.require("a")
        followers.require("a")


class TestTheRate:
    @pytest.mark.parametrize("path", ["/v1/conversations/{id}/turns", "/v1/chat/completions"])
    async def test_that_is_left_is_said_with_every_answer(self, clock: FrozenClock, sqlite_db: Database, path: str):
        world = await world_over(sqlite_db, clock, burst=3)
        world.script("Hello.", repeats=True)
        async with served(world) as live:
            url = path.format(id=await live.open())
            chat = {"model": "shop", "messages": [{"role": "user", "content": "hello"}]}
            good = chat if "chat" in path else {"message": "hello"}
            too_long = "x" * 600
            bad = {"message": too_long}
            if "chat" in path:
                bad = chat | {"messages": [{"role": "user", "content": too_long}]}
                good = chat | {"stream": True}
            answers = [await live.post(url, body) for body in (good, bad, good, good)]
        assert [each.status_code for each in answers] == [200, 422, 200, 429]
        assert [each.headers.get("ratelimit", "") for each in answers] == [
            '"turns";r=2;t=2', '"turns";r=1;t=2', '"turns";r=0;t=4', '"turns";r=0;t=2'
        ]  # fmt: skip
        assert {each.headers["ratelimit-policy"] for each in answers} == {'"turns";q=3'}
        await closed(world)


class TestAFullServer:
    async def test_answers_429_to_a_tenant_that_has_its_share_and_stores_nothing(self, world: World):
        limits = AdmissionLimits(running=2, running_per_tenant=1, waiting=0, waiting_per_tenant=0)
        world.services.admission = Admission(world.services.clock, limits)
        world.script(Reply(text="one two", piece=4, gap_seconds=30))
        async with served(world) as live:
            running, other = await live.open(), await live.open()
            turn = asyncio.create_task(live.post(f"/v1/conversations/{running}/turns", {"message": "count"}))
            await until(lambda: len(world.services.running) == 1)
            commits = len(world.db.commits)
            for path, body in (
                (f"/v1/conversations/{other}/turns", {"message": "hello"}),
                ("/v1/chat/completions", {"model": "shop", "messages": [{"role": "user", "content": "hello"}]}),
            ):
                refused = await live.post(path, body)
                assert (refused.status_code, refused.json()["error"]["code"]) == (429, "tenant_overloaded"), path
                assert int(refused.headers["retry-after"]) >= 1
            assert len(world.db.commits) == commits
            async with websockets.connect(live.socket_url(other)) as socket:
                await socket.send('{"type": "turn.create", "data": {"message": "hello"}}')
                error = json.loads(await socket.recv())["data"]["error"]
                assert error["code"] == "tenant_overloaded"
                assert error["retry_after_seconds"] >= 1
            for task in world.services.running.values():
                task.cancel()
            await turn
