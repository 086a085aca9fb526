"""Server-sent events as clients meet them: live, dropped, resumed, after a restart."""

import asyncio

import httpx2
import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.serving.conversations import Streams
from handrail.serving.models import Reply, calls
from tests.flows.desk import Desk
from tests.flows.world import closed, until, world_over
from tests.http.api import Api, api_over, parsed, shown


async def test_events_come_while_the_turn_runs_and_not_at_its_end(live: Api):
    conversation = await live.open()
    live.world.script(Reply(text="one two", piece=4, gap_seconds=0.3))
    arrived: list[tuple[float, str]] = []
    clock = asyncio.get_running_loop().time
    request = live.client.stream(
        "POST", f"/v1/conversations/{conversation}/turns", json={"message": "count"},
        headers={"accept": "text/event-stream"},
    )  # fmt: skip
    async with request as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-handrail-turn-id"].startswith("turn_")
        async for chunk in response.aiter_text():
            arrived.extend((clock(), event.name) for event in parsed(chunk))
    times = {name: at for at, name in reversed(arrived)}
    assert times["turn.completed"] - times["message.delta"] > 0.2


async def test_a_client_that_leaves_does_not_stop_the_turn(live: Api):
    conversation = await live.open()
    live.world.script(Reply(text="one two three four", piece=4, gap_seconds=0.05))
    request = live.client.stream(
        "POST", f"/v1/conversations/{conversation}/turns", json={"message": "count"},
        headers={"accept": "text/event-stream"},
    )  # fmt: skip
    async with request as response:
        turn_id = response.headers["x-handrail-turn-id"]
        await anext(response.aiter_text())
    seen = await live.events(turn_id)
    assert (seen[-1].name, shown(seen)) == ("turn.completed", "one two three four")
    assert await live.world.answer(turn_id) == "one two three four"


async def test_a_client_that_waits_for_json_and_leaves_does_not_stop_the_turn_either(live: Api):
    conversation = await live.open()
    live.world.script(Reply(text="done", delay_seconds=0.2))
    with pytest.raises(httpx2.ReadTimeout):
        await live.client.post(f"/v1/conversations/{conversation}/turns", json={"message": "hello"}, timeout=0.05)
    await until(lambda: not live.world.services.running)
    body = (await live.get(f"/v1/conversations/{conversation}")).json()
    assert [each["content"] for each in body["messages"]] == ["hello", "done"]


async def test_many_clients_that_drop_anywhere_end_with_the_transcripts_text(live: Api):
    conversation = await live.open()
    live.world.script(Reply(text="The quick brown fox jumps.", piece=3, gap_seconds=0.01))
    began = asyncio.create_task(live.stream(conversation, "go"))
    await until(lambda: len(live.world.services.running) == 1)
    (turn_id,) = live.world.services.running

    async def dropping(every: int) -> str:
        """Reads `every` events, drops, and comes back with the id of the last one, until the end."""
        text, last = "", ""
        while True:
            headers = {"last-event-id": last} if last else {}
            taken = 0
            async with live.client.stream("GET", f"/v1/turns/{turn_id}/events", headers=headers) as response:
                async for chunk in response.aiter_text():
                    for event in parsed(chunk):
                        taken, last = taken + 1, event.id
                        if event.name == "message.delta":
                            text += event.data["text"]
                        elif event.name == "message.restarted":
                            text = event.data["text"]
                        if event.name == "turn.completed":
                            return text
                        if taken == every:
                            break
                    if taken == every:
                        break

    texts = await asyncio.gather(*(dropping(every) for every in range(1, 7)))
    assert set(texts) == {shown(await began)} == {"The quick brown fox jumps."}


@pytest.mark.parametrize("store", ["sqlite_db", "db"])
async def test_a_client_that_comes_back_after_a_restart_loses_nothing(
    request: pytest.FixtureRequest, store: str, sqlite_db: Database, clock: FrozenClock, desk: Desk
):
    before = await world_over(sqlite_db, clock)
    before.script(calls(("get_order", {"order": "A1"}), text="Let me see."), "It is on its way.")
    async with api_over(before) as api:
        live = await api.stream(await api.open(), "where is it")
    turn_id = live[-1].data["id"]
    after = await world_over(sqlite_db, clock)
    async with api_over(after) as api:
        whole = await api.events(turn_id)
        assert shown(whole) == shown(live)
        for number, event in enumerate(live):
            rest = await api.events(turn_id, event.id)
            assert shown([*live[: number + 1], *rest]) == shown(live)
            assert rest[-1].data == live[-1].data
        for number, event in enumerate(whole[:-1]):
            rest = await api.events(turn_id, event.id)
            assert shown([*whole[: number + 1], *rest]) == shown(live)
            assert [each.id for each in rest] == [each.id for each in whole[number + 1 :]]
        assert await api.events(turn_id, whole[-1].id) == []
    await closed(after)


async def test_silence_is_filled_with_pings_that_are_no_events(live: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("handrail.http.sse.PING_SECONDS", 0.05)
    conversation = await live.open()
    live.world.script(Reply(text="at last", delay_seconds=0.3))
    answer = await live.post(
        f"/v1/conversations/{conversation}/turns", {"message": "hello"}, accept="text/event-stream"
    )
    assert answer.text.count(": ping") >= 3
    assert shown(list(parsed(answer.text))) == "at last"


async def test_ids_rise_by_one_and_survive_a_ring_that_is_gone(api: Api):
    seen = await api.stream(await api.open(), "hello")
    assert [event.id for event in seen] == [f"1.{number}" for number in range(1, len(seen) + 1)]
    api.world.services.streams = Streams()
    replayed = await api.events(seen[-1].data["id"], seen[2].id)
    assert shown([*seen[:3], *replayed]) == shown(seen)
