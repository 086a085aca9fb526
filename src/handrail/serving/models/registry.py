"""From the tiers of a release to clients that can be called, and the truth about the ones that can't."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from handrail.core.deadline import Deadline
from handrail.core.errors import UsageError
from handrail.core.models import ModelClient, ModelEvent, ModelNotConfigured, ModelRequest
from handrail.core.prices import DeclaredPrice
from handrail.serving.models.connections import ModelConnections
from handrail.serving.models.extractive import ExtractiveModel, Extractor
from handrail.serving.models.openai_compatible import Endpoint, OpenAICompatibleModel
from handrail.serving.models.schema import ModelConfig, fallback_problems
from handrail.serving.models.scripted import ScriptedModel


@dataclass(frozen=True, slots=True)
class TierStatus:
    """What `/readyz` and the status page say about a tier.

    `chain` lists the tiers that will be tried, those without a key left out; empty means the tier can't answer.
    """

    tier: str
    provider: str
    model: str
    is_configured: bool
    reason: str | None
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelTier:
    """One model of a chain, by the name that the project gives it.

    `first_token_seconds` is the tier's own limit until its first token; None leaves it to the caller. `url` is where it
    is called, empty when nowhere, and `price` what the project says of its price.
    """

    name: str
    client: ModelClient
    first_token_seconds: float | None = None
    url: str = ""
    price: DeclaredPrice | None = None


class Models:
    """The models of one release. The connections behind them are the process's."""

    def __init__(self, chains: Mapping[str, tuple[ModelTier, ...]], statuses: Mapping[str, TierStatus]) -> None:
        self._chains = chains
        self._statuses = statuses

    def chain(self, tier: str) -> tuple[ModelTier, ...]:
        """The tier and what it falls back to, in order, at least one; those that can't be called are left out.

        Raises `UsageError` for a tier the release does not have.
        """
        try:
            return self._chains[tier]
        except KeyError:
            known = ", ".join(map(repr, self._chains)) or "none"
            raise UsageError(f"there is no model tier {tier!r}; this release has {known}") from None

    def tiers(self) -> tuple[ModelTier, ...]:
        """Every tier that can be called."""
        return tuple({tier.name: tier for chain in self._chains.values() for tier in chain}.values())

    def describe(self) -> tuple[TierStatus, ...]:
        return tuple(self._statuses.values())


class ModelRegistry:
    """Builds the clients of every release over one pool of connections.

    Args:
        environ: where keys and URLs are looked up, once per build.
        extract: what the `extractive` provider finds answers with; `build` refuses that provider without it.
    """

    def __init__(
        self,
        connections: ModelConnections,
        environ: Mapping[str, str],
        *,
        extract: Extractor | None = None,
    ) -> None:
        self._connections = connections
        self._environ = environ
        self._extract = extract

    def build(self, tiers: Mapping[str, ModelConfig], *, offers: str | None = None) -> Models:
        """The clients of one release; `offers` is what its agent can do without a model.

        Raises:
            UsageError: a fallback names no tier.
        """
        if problem := next(fallback_problems(tiers), None):
            raise UsageError(problem)
        missing = {name: self._what_is_missing(config) for name, config in tiers.items()}
        usable = {name: self._tier(name, config, offers) for name, config in tiers.items() if missing[name] is None}
        chains: dict[str, tuple[ModelTier, ...]] = {}
        statuses: dict[str, TierStatus] = {}
        for name, config in tiers.items():
            chain = tuple(tier for tier in dict.fromkeys((name, *config.fallbacks)) if tier in usable)
            chains[name] = tuple(usable[tier] for tier in chain) or (_nothing(name, missing[name]),)
            statuses[name] = TierStatus(
                name, config.provider, config.called_name, missing[name] is None, missing[name], chain
            )
        return Models(chains, statuses)

    def url(self, config: ModelConfig) -> str:
        """Where a model is called, empty when nowhere."""
        return self._url(config) if config.provider == "openai_compatible" else ""

    async def close(self) -> None:
        await self._connections.close()

    def _tier(self, name: str, config: ModelConfig, offers: str | None) -> ModelTier:
        client = self._client(config, offers)
        return ModelTier(name, client, config.first_token_timeout_seconds, self.url(config), config.price)

    def _what_is_missing(self, config: ModelConfig) -> str | None:
        if config.provider == "extractive" and self._extract is None:
            return "no extractive answering is built in"
        if config.provider != "openai_compatible" or self._value(config.base_url_env):
            return None
        if config.base_url is None:
            return f"the environment variable {config.base_url_env!r} is not set"
        if config.api_key_env and not self._value(config.api_key_env):
            return f"the environment variable {config.api_key_env!r} is not set"
        return None

    def _client(self, config: ModelConfig, offers: str | None) -> ModelClient:
        if config.provider == "scripted":
            return ScriptedModel(config.replies, model=config.called_name, repeats=True)
        if config.provider == "extractive":
            assert self._extract is not None, "a tier without what it needs is never built"
            return ExtractiveModel(self._extract, offers=offers)
        endpoint = Endpoint(
            base_url=self._url(config),
            model=config.called_name,
            api_key=self._value(config.api_key_env),
            api_key_env=config.api_key_env,
            parameters=config.parameters.as_sent(),
            connect_timeout_seconds=config.connect_timeout_seconds,
            first_byte_timeout_seconds=config.first_byte_timeout_seconds,
            silence_timeout_seconds=config.silence_timeout_seconds,
            timeout_seconds=config.timeout_seconds,
            replay_reasoning=config.replay_reasoning,
        )
        return OpenAICompatibleModel(endpoint, self._connections)

    def _url(self, config: ModelConfig) -> str:
        return self._value(config.base_url_env) or config.base_url or ""

    def _value(self, variable: str | None) -> str | None:
        return (self._environ.get(variable) or "").strip() or None if variable else None


def _nothing(tier: str, reason: str | None) -> ModelTier:
    return ModelTier(tier, UnconfiguredModel(tier, reason or "nothing to call"))


class UnconfiguredModel:
    """Stands where no model of a tier can be called; says what to set."""

    provider = "none"
    origin = "none"
    account: str | None = None

    def __init__(self, tier: str, reason: str) -> None:
        self.model = tier
        self._message = f"model tier {tier!r} is not configured: {reason}; set it, or give the tier a fallback"

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        raise ModelNotConfigured(self._message)
        yield  # makes this a generator, as the contract wants

    async def close(self) -> None:
        """Holds nothing open."""
