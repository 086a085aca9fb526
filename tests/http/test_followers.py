"""One principal has so many streams and sockets open, and a socket is read no faster than it should be."""

import asyncio

import pytest
import websockets

from handrail.http.followers import Followers
from handrail.http.websocket import FRAMES_AT_ONCE, Pace
from handrail.serving.models import Reply
from handrail.serving.resilience import TenantOverloaded
from tests.flows.world import World, until
from tests.http.api import served


class TestFollowers:
    def test_each_principal_has_so_many_and_gets_them_back(self):
        followers = Followers(most_a_principal=2)
        with followers.one("t", "ana"):
            with followers.one("t", "ana"):
                with pytest.raises(TenantOverloaded, match="2 event streams and sockets of this principal"):
                    followers.require("t", "ana")
                followers.require("t", "ben")
                followers.require("u", "ana")
            followers.require("t", "ana")
        assert len(followers) == 0

    async def test_streams_and_sockets_beyond_it_are_refused_until_one_ends(self, world: World):
        world.script(Reply(text="one two", piece=4, gap_seconds=30))
        async with served(world, most_streams=1) as live:
            conversation = await live.open()
            turn = asyncio.create_task(live.post(f"/v1/conversations/{conversation}/turns", {"message": "count"}))
            await until(lambda: len(world.services.running) == 1)
            turn_id = next(iter(world.services.running))
            async with websockets.connect(live.socket_url(conversation)):
                refused = await live.get(f"/v1/turns/{turn_id}/events")
                assert (refused.status_code, refused.json()["error"]["code"]) == (429, "tenant_overloaded")
                with pytest.raises(websockets.InvalidStatus):
                    await websockets.connect(live.socket_url(conversation))
            async with live.client.stream("GET", f"/v1/turns/{turn_id}/events") as stream:
                assert stream.status_code == 200
            for task in world.services.running.values():
                task.cancel()
            await turn


class TestPace:
    def test_lets_a_burst_pass_and_then_so_many_a_second(self):
        pace = Pace()
        assert [pace.wait_seconds(0.0) for _ in range(FRAMES_AT_ONCE)] == [0.0] * FRAMES_AT_ONCE
        assert pace.wait_seconds(0.0) == pytest.approx(0.1)
        assert pace.wait_seconds(0.1) == pytest.approx(0.1)
        assert pace.wait_seconds(100.0) == 0.0
