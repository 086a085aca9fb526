"""Rates beside that of turns: conversations that begin, and tokens that models use."""

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.models import ModelUnavailable
from handrail.core.principal import Principal
from handrail.core.usage import Usage
from handrail.flows.cancel import cancel_turn
from handrail.flows.conversations import open_conversation
from handrail.protection.rate_limits import Rate, RateLimited, RateLimiter
from handrail.serving.conversations import IdempotencyScope
from handrail.serving.models import Reply
from tests.flows.world import PROJECT, World, until
from tests.http.api import api_over

ANA, BEN = Principal("default", "ana"), Principal("default", "ben")


class TestConversations:
    async def test_begin_at_their_own_rate_and_a_repeat_costs_nothing(self, world: World, clock: FrozenClock):
        world.services.conversation_rates = Rate(RateLimiter(clock, per_minute=60, burst=2, what="conversations"))
        again = IdempotencyScope("conversations", "key-1", b"{}")
        first = await open_conversation(world.services, ANA, None, idempotency=again)
        for _ in range(5):
            assert (await open_conversation(world.services, ANA, None, idempotency=again)).id == first.id
        await open_conversation(world.services, ANA, None)
        with pytest.raises(RateLimited, match="too many conversations"):
            await open_conversation(world.services, ANA, None)
        await open_conversation(world.services, BEN, None)
        clock.advance(1.0)
        await open_conversation(world.services, ANA, None)


class TestTokens:
    async def test_are_charged_after_the_call_and_keep_the_next_turn_waiting(self, world: World, clock: FrozenClock):
        world.services.token_rates = Rate(RateLimiter(clock, per_minute=60, burst=60, what="tokens"))
        world.script(Reply(text="hello there", usage=Usage(50, 40)), repeats=True)
        async with api_over(world) as api:
            conversation = await api.open()
            assert (await api.say(conversation, "tell me something about the moon"))["status"] == "completed"
            answer = await api.post(f"/v1/conversations/{conversation}/turns", {"message": "and more"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
            assert "tokens" in answer.json()["error"]["message"]
            assert answer.headers["ratelimit"].startswith('"tokens";r=0;t=')
            assert int(answer.headers["retry-after"]) >= 30
            clock.advance(32.0)
            assert (await api.say(conversation, "and more"))["status"] == "completed"

    @pytest.mark.parametrize("how", ["cancelled", "cancelled before its first word", "broken off"])
    async def test_a_call_that_ends_before_its_usage_is_charged_by_an_estimate(
        self, world: World, clock: FrozenClock, how: str
    ):
        """Or breaking one answer after another off would be free."""
        allow(world, clock)
        conversation = await world.open(ANA)
        if how == "broken off":
            world.script(Reply(text="hello there, you", breaks_after=11), repeats=True)
            await world.say(conversation, QUESTION, ANA)
        else:
            slow = Reply("hello there, you", piece=5, gap_seconds=30)
            world.script(slow if how == "cancelled" else Reply("hello", delay_seconds=30), repeats=True)
            stream = await world.send(conversation, QUESTION, ANA)
            await until(lambda: bool(world.model.requests))
            await cancel_turn(world.services, ANA, stream.turn_id)
            await world.settle(stream.turn_id)
        asked = len(QUESTION) + len(PROJECT["instructions.md"])
        await until(lambda: ALLOWED - left(world) >= asked // 4)
        text = world.services.metrics.render().decode()
        assert 'model_tokens_estimated_total{agent="shop",kind="input"' in text

    async def test_a_call_that_failed_before_its_first_word_costs_nothing(self, world: World, clock: FrozenClock):
        allow(world, clock)
        world.script(ModelUnavailable("no route"), repeats=True)
        await world.say(await world.open(ANA), QUESTION, ANA)
        assert left(world) == ALLOWED

    async def test_a_whole_answer_is_charged_as_its_provider_counted_it(self, world: World, clock: FrozenClock):
        allow(world, clock)
        world.script(Reply(text="hello there", usage=Usage(3, 4)))
        await world.say(await world.open(ANA), QUESTION, ANA)
        assert ALLOWED - left(world) == 7
        assert "model_tokens_estimated_total{" not in world.services.metrics.render().decode()


QUESTION = "tell me something about the moon"
ALLOWED = 100_000


def allow(world: World, clock: FrozenClock) -> None:
    world.services.token_rates = Rate(RateLimiter(clock, per_minute=60, burst=ALLOWED, what="tokens"))


def left(world: World) -> int:
    """How many tokens Ana may use now."""
    rates = world.services.token_rates
    assert rates is not None
    return rates.local.check(ANA).remaining
