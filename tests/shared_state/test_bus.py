"""News between replicas: one contract for those of one process and those on a Valkey server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from handrail.shared_state import Bus, Hub, LocalBus, Valkey, ValkeyBus
from tests.servers import ValkeyServer

Join = Callable[[str, dict[str, list[Any]]], Awaitable[Bus]]


@pytest.fixture(params=["in process", "valkey"])
async def join(request: pytest.FixtureRequest) -> AsyncIterator[Join]:
    """A new replica's bus, which notes what it hears of the given topics."""
    hub = Hub()
    async with AsyncExitStack() as stack:

        async def joined(me: str, heard: dict[str, list[Any]]) -> Bus:
            if request.param == "in process":
                bus: LocalBus | ValkeyBus = LocalBus(hub)
            else:
                valkey = Valkey(request.getfixturevalue("valkey_url"))
                await valkey.start()
                stack.push_async_callback(valkey.close)
                bus = ValkeyBus(valkey, me)
            for topic, into in heard.items():
                bus.listen(topic, into.append)
            if isinstance(bus, ValkeyBus):
                await bus.start()
                stack.push_async_callback(bus.close)
                await soon(lambda: bus.is_listening)
            return bus

        yield joined


async def soon(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    until = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < until, "it did not happen in time"
        await asyncio.sleep(0.01)


async def test_what_one_tells_all_others_hear_in_order_and_the_teller_does_not(join: Join):
    heard: list[list[Any]] = [[], [], []]
    buses = [await join(f"r{number}", {"look": each}) for number, each in enumerate(heard)]
    for number in range(20):
        buses[0].publish("look", {"number": number})
    expected = [{"number": number} for number in range(20)]
    await soon(lambda: heard[1] == heard[2] == expected)
    assert heard[0] == []


async def test_a_topic_is_heard_by_who_listens_to_it(join: Join):
    looks: list[Any] = []
    breakers: list[Any] = []
    await join("r1", {"look": looks, "breaker": breakers})
    teller = await join("r2", {})
    teller.publish("breaker", "b")
    teller.publish("unheard", "u")
    teller.publish("look", "l")
    await soon(lambda: looks == ["l"])
    assert breakers == ["b"]


async def test_who_joins_later_hears_the_last_of_what_is_kept_and_nothing_else(join: Join):
    teller = await join("r1", {})
    witness: list[Any] = []
    await join("r2", {"breaker": witness})
    teller.publish("breaker", 1, keep="a")
    teller.publish("breaker", 2, keep="b")
    teller.publish("breaker", 3, keep="a")
    teller.publish("breaker", 4)
    await soon(lambda: len(witness) == 4)
    late: list[Any] = []
    await join("r3", {"breaker": late})
    await soon(lambda: len(late) == 2)
    assert sorted(late) == [2, 3]


async def test_telling_nobody_is_no_error(join: Join):
    (await join("alone", {})).publish("look", None)


@pytest.mark.valkey
class TestWithoutItsServer:
    async def test_news_is_lost_and_counted_and_heard_again_when_it_is_back(self, valkey_server: ValkeyServer):
        lost: list[str] = []
        connected: list[int] = []
        heard: list[Any] = []
        valkeys = [Valkey(valkey_server.url, look_seconds=0.05) for _ in range(2)]
        for each in valkeys:
            await each.start()
        teller = ValkeyBus(valkeys[0], "r1", name="outage", on_lost=lost.append)
        hearer = ValkeyBus(valkeys[1], "r2", name="outage", on_connected=lambda: connected.append(1))
        hearer.listen("look", heard.append)
        try:
            await teller.start()
            await hearer.start()
            await soon(lambda: hearer.is_listening)
            valkey_server.kill()
            await soon(lambda: not valkeys[0].is_up and not hearer.is_listening)
            teller.publish("look", "nobody hears this")
            assert lost == ["look"]
            valkey_server.start()
            await soon(lambda: valkeys[0].is_up and hearer.is_listening)
            assert len(connected) == 2
            teller.publish("look", "back")
            await soon(lambda: heard == ["back"])
        finally:
            for each in (teller, hearer, *valkeys):
                await each.close()
            valkey_server.start_if_gone()

    async def test_what_is_not_ours_on_the_channel_is_passed_over(self, valkey_url: str):
        heard: list[Any] = []
        valkey = Valkey(valkey_url)
        await valkey.start()
        bus = ValkeyBus(valkey, "r1")
        bus.listen("look", heard.append)
        try:
            await bus.start()
            await soon(lambda: bus.is_listening)
            for text in (b"\xff", b"hello", b"[]", b'"x"', b"{}", b'{"from": "r2", "topic": "look"}'):
                await valkey.client.publish("handrail:news", text)
            await valkey.client.publish("handrail:news", b'{"from": "r2", "topic": "look", "body": 1}')
            await soon(lambda: heard == [1])
        finally:
            await bus.close()
            await valkey.close()
