"""A provider behind a network that fails in every way we know: each has its declared outcome, the user an answer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from handrail.core.clock import FrozenClock
from handrail.serving.models import Endpoint, ModelConnections, ModelTier, OpenAICompatibleModel, ScriptedModel
from handrail.serving.resilience import BreakerState
from handrail.testing import (
    Answer,
    Fault,
    FaultProxy,
    HalfOpen,
    Latency,
    Refused,
    Reset,
    SlowDrip,
    Truncated,
    malformed_json,
    rate_limit_storm,
    server_error,
)
from tests.flows.world import World, events_of, text_of
from tests.serving.models.provider import Provider, Wire, finish, text

PRIMARY, SECOND = "The first answers.", "The second answers."


@dataclass
class Net:
    """The primary model behind a proxy, the secondary in this process."""

    world: World
    proxy: FaultProxy
    provider: Provider

    async def ask(self) -> tuple[str, list[str], list[tuple[str, str | None]]]:
        """The text as a client shows it, the names of the events, and the ladder."""
        stream = await self.world.send(await self.world.open(), "hello")
        seen = await asyncio.wait_for(events_of(stream), 8)
        result = await stream.wait()
        assert text_of(seen) == result["message"]["content"] == await self.world.answer(stream.turn_id)
        steps = [(step["rung"], step.get("failed")) for step in result.get("ladder", ())]
        return text_of(seen), [event.name for event in seen], steps

    def wait_for_the_first_word(self) -> None:
        """However slow this machine is, the primary is left for what it does and not for being late."""
        large, small = self.world.release.chain
        self.world.release.chain = (ModelTier(large.name, large.client, 5.0), small)

    @property
    def failed(self) -> int:
        """What the primary's breaker counts."""
        return next(each.failed for each in self.world.services.breakers.states() if "the-first" in each.key)


async def speaks(wire: Wire) -> None:
    await wire.head()
    for word in ("The ", "first ", "answers."):
        await wire.say(text(word))
        await asyncio.sleep(0.002)
    await wire.say(finish())
    await wire.done()


@pytest.fixture
async def net(world: World) -> AsyncIterator[Net]:
    connections = ModelConnections()
    async with Provider(speaks) as provider, FaultProxy(int(provider.url.rpartition(":")[2][:-3])) as proxy:
        endpoint = Endpoint(f"http://127.0.0.1:{proxy.port}/v1", "the-first", silence_timeout_seconds=0.3)
        first = OpenAICompatibleModel(endpoint, connections)
        second = ScriptedModel([SECOND], model="the-second", repeats=True)
        world.release.chain = (ModelTier("large", first, 0.3), ModelTier("small", second))
        yield Net(world, proxy, provider)
    await connections.close()


BEFORE_A_WORD: list[tuple[Fault, str]] = [
    (Refused(), "model_unavailable"),
    (Reset(), "model_unavailable"),
    (HalfOpen(), "model_too_slow"),
    (Latency(5), "model_too_slow"),
    (SlowDrip(size=1, every_seconds=0.05), "model_too_slow"),
    (rate_limit_storm(retry_after_seconds=30), "model_rate_limited"),
    (rate_limit_storm(retry_after_seconds=None), "model_rate_limited"),
    (server_error(500), "model_unavailable"),
    (server_error(503, retry_after_seconds=30), "model_unavailable"),
    (malformed_json(), "model_malformed"),
    (Answer(200, b"<html>not an API</html>", {"content-type": "text/html"}), "model_malformed"),
    (Answer(200, b"", {}), "model_malformed"),
    (Truncated(after_bytes=120), "model_malformed"),
]


class TestBeforeTheFirstWord:
    @pytest.mark.parametrize(("fault", "code"), BEFORE_A_WORD, ids=lambda each: str(each)[:40])
    async def test_the_second_model_answers_and_nobody_notices(self, net: Net, fault: Fault, code: str):
        net.proxy.fault = fault
        answer, names, steps = await net.ask()
        assert answer == SECOND
        assert "message.restarted" not in names
        assert steps[0] == ("primary", code)
        assert steps[-1] == ("secondary", None)
        assert net.failed >= 1


class TestAfterTheFirstWord:
    @pytest.mark.parametrize("fault", [Truncated(after_events=2), Reset(after_bytes=400)], ids=["truncated", "reset"])
    async def test_the_second_model_begins_anew_and_the_client_replaces_what_it_shows(self, net: Net, fault: Fault):
        net.proxy.fault = fault
        net.wait_for_the_first_word()
        answer, names, steps = await net.ask()
        assert answer == SECOND
        assert "message.restarted" in names
        assert [step for step in steps if step[0] != "retry"] == [("primary", "model_malformed"), ("secondary", None)]
        assert net.failed == 1

    async def test_a_model_that_falls_silent_is_left_too(self, net: Net):
        async def stops(wire: Wire) -> None:
            await wire.head()
            await wire.say(text("The first "))
            await wire.gone()

        net.provider._handler = stops
        answer, names, steps = await net.ask()
        assert answer == SECOND
        assert "message.restarted" in names
        assert steps == [("primary", "model_unavailable"), ("secondary", None)]


class TestSlowButSound:
    @pytest.mark.parametrize("fault", [Latency(0.05, jitter_seconds=0.02), SlowDrip(64, 0.005)], ids=["late", "drip"])
    async def test_answers_are_waited_for(self, net: Net, fault: Fault):
        net.proxy.fault = fault
        answer, _, steps = await net.ask()
        assert (answer, steps) == (PRIMARY, [])
        assert net.failed == 0


class TestAnOutage:
    async def test_opens_the_breaker_so_that_nobody_pays_for_it_any_more_until_it_is_over(
        self, net: Net, clock: FrozenClock
    ):
        net.proxy.fault = server_error(500)
        while _state(net) is not BreakerState.OPEN:
            assert (await net.ask())[0] == SECOND
        calls = net.proxy.connections
        for _ in range(5):
            answer, _, steps = await net.ask()
            assert (answer, steps) == (SECOND, [("primary", "breaker_open"), ("secondary", None)])
        assert net.proxy.connections == calls
        net.proxy.fault = None
        clock.advance(61)
        for _ in range(10):
            assert (await net.ask())[0] == PRIMARY
        assert _state(net) is BreakerState.CLOSED


def _state(net: Net) -> BreakerState | None:
    states = net.world.services.breakers.states()
    return next((each.state for each in states if "the-first" in each.key), None)
