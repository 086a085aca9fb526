from collections.abc import AsyncIterator
from typing import Any

import pytest

from handrail.core.deadline import Deadline
from handrail.core.errors import UsageError
from handrail.core.messages import Message
from handrail.core.models import ModelAnswer, ModelClient, ModelNotConfigured, ModelRequest
from handrail.serving.models import (
    ExtractiveModel,
    ModelConfig,
    ModelConnections,
    ModelRegistry,
    Models,
    OpenAICompatibleModel,
    ScriptedModel,
    TierStatus,
)
from tests.serving.models.provider import Provider, Wire, finish, text

REMOTE = {
    "provider": "openai_compatible",
    "base_url": "https://models.example/v1",
    "model": "big",
    "api_key_env": "KEY",
}


def build(environ: dict[str, str], **tiers: dict[str, Any]) -> Models:
    registry = ModelRegistry(ModelConnections(), environ, extract=lambda question, passages: None)
    return registry.build({name: ModelConfig.model_validate(tier) for name, tier in tiers.items()})


async def ask(client: ModelClient) -> ModelAnswer:
    events = [event async for event in client.stream(ModelRequest("", [Message("user", "hi")]), Deadline.after(5))]
    assert isinstance(events[-1], ModelAnswer)
    return events[-1]


class TestBuild:
    def test_makes_a_client_for_every_provider(self) -> None:
        models = build(
            {"KEY": "k"},
            large=REMOTE,
            demo={"provider": "scripted", "replies": ["hi"]},
            offline={"provider": "extractive"},
        )
        kinds = [type(models.chain(tier)[0].client) for tier in ("large", "demo", "offline")]
        assert kinds == [OpenAICompatibleModel, ScriptedModel, ExtractiveModel]

    def test_a_tier_with_fallbacks_is_a_chain(self) -> None:
        models = build({"KEY": "k"}, large={**REMOTE, "fallbacks": ["offline"]}, offline={"provider": "extractive"})
        assert [tier.name for tier in models.chain("large")] == ["large", "offline"]
        assert models.describe()[0].chain == ("large", "offline")

    @pytest.mark.parametrize("environ", [{}, {"KEY": ""}, {"KEY": "  "}])
    async def test_a_tier_without_its_key_is_skipped_and_said_to_be(self, environ: dict[str, str]) -> None:
        models = build(environ, large={**REMOTE, "fallbacks": ["offline"]}, offline={"provider": "extractive"})
        reason = "the environment variable 'KEY' is not set"
        assert models.describe()[0] == TierStatus("large", "openai_compatible", "big", False, reason, ("offline",))
        assert (await ask(models.chain("large")[0].client)).provider == "extractive"

    async def test_a_tier_with_nothing_to_call_says_what_to_set(self) -> None:
        models = build({}, large=REMOTE)
        assert models.describe()[0].chain == ()
        with pytest.raises(ModelNotConfigured, match="'large' is not configured: the environment variable 'KEY'"):
            await ask(models.chain("large")[0].client)

    def test_a_tier_that_names_no_key_needs_none(self) -> None:
        models = build({}, local={key: value for key, value in REMOTE.items() if key != "api_key_env"})
        assert models.describe()[0].is_configured

    def test_a_url_only_from_the_environment_is_missing_until_it_is_set(self) -> None:
        tier = {"provider": "openai_compatible", "base_url_env": "URL", "model": "big"}
        assert build({}, large=tier).describe()[0].reason == "the environment variable 'URL' is not set"
        assert build({"URL": "http://127.0.0.1:9/v1"}, large=tier).describe()[0].is_configured

    def test_an_unknown_tier_or_fallback_is_named(self) -> None:
        with pytest.raises(UsageError, match="'huge'; this release has 'large'"):
            build({}, large=REMOTE).chain("huge")
        with pytest.raises(UsageError, match="'huge', which is not a tier"):
            build({}, large={**REMOTE, "fallbacks": ["huge"]})


class TestAUrlFromTheEnvironment:
    @pytest.fixture
    async def provider(self) -> AsyncIterator[Provider]:
        async def answers(wire: Wire) -> None:
            await wire.head()
            await wire.say(text("hi"), finish())
            await wire.done()

        async with Provider(answers) as provider:
            yield provider

    @pytest.mark.parametrize(("key", "sent"), [({}, None), ({"KEY": "k"}, "Bearer k")])
    async def test_replaces_the_url_and_makes_the_key_optional(
        self, provider: Provider, key: dict[str, str], sent: str | None
    ) -> None:
        registry = ModelRegistry(ModelConnections(), {"URL": provider.url, **key})
        config = ModelConfig.model_validate({**REMOTE, "base_url_env": "URL", "parameters": {"seed": 7}})
        answer = await ask(registry.build({"large": config}).chain("large")[0].client)
        await registry.close()
        assert answer.text == "hi"
        assert provider.received[0].headers.get("authorization") == sent
        assert (provider.received[0].body["model"], provider.received[0].body["seed"]) == ("big", 7)
