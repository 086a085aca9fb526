"""Rates beside that of turns: conversations that begin, and tokens that models use."""

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.core.usage import Usage
from handrail.flows.conversations import open_conversation
from handrail.protection.rate_limits import Rate, RateLimited, RateLimiter
from handrail.serving.conversations import IdempotencyScope
from handrail.serving.models import Reply
from tests.flows.world import World
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
