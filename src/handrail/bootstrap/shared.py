"""What is made only when a Valkey server is named."""

from dataclasses import dataclass

from handrail.bootstrap.rates import (
    CHANNEL_TESTS,
    Terms,
    conversation_terms,
    failure_terms,
    feedback_terms,
    request_terms,
    sign_in_terms,
    token_terms,
)
from handrail.flows.services import Services
from handrail.protection.rate_limits import LeasedRate, Rate, RateLimiter, SharedRateLimiter, lease_terms
from handrail.serving.conversations import SharedStreams
from handrail.settings import Settings
from handrail.shared_state import Valkey, ValkeyBus
from handrail.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Shared:
    """What is made only when a Valkey server is named."""

    valkey: Valkey
    bus: ValkeyBus
    streams: SharedStreams

    @classmethod
    def of(cls, settings: Settings, owner: str, metrics: Metrics) -> "Shared":
        valkey = Valkey(settings.valkey_url or "", on_change=metrics.shared_state_changed)
        bus = ValkeyBus(valkey, owner, on_lost=lambda _: metrics.shared_state_lost("news"))
        return cls(valkey, bus, SharedStreams(valkey, on_lost=lambda count: metrics.shared_state_lost("events", count)))

    async def serve(self, services: Services, settings: Settings, failures: Rate) -> None:
        """Connect; from here on others are told and heard."""
        services.valkey, services.shared_streams = self.valkey, self.streams
        self.streams.ciphers = services.encryption.keys
        services.shared_rates = SharedRateLimiter(
            self.valkey,
            services.rate_limits,
            per_minute=settings.rate_limit.turns_per_minute,
            burst=settings.rate_limit.burst,
            on_degraded=lambda: services.metrics.shared_state_lost("rates"),
        )
        for rate, wanted in (
            (services.sign_in_rates, sign_in_terms(settings)),
            (services.conversation_rates, conversation_terms(settings)),
            (services.token_rates, token_terms(settings)),
            (failures, failure_terms(settings)),
            (services.feedback_rates, feedback_terms(settings)),
            (services.channel_tests, CHANNEL_TESTS),
        ):
            if rate is not None and wanted is not None:
                rate.shared = self._limiter(services, rate.local, wanted)
        if services.address_rates is not None:
            services.address_rates.shared = self._of_addresses(services, services.address_rates.local, settings)
        self.bus.on_connected = services.look.set
        await self.valkey.start()
        await self.bus.start()
        await self.streams.start()

    def _limiter(self, services: Services, local: RateLimiter, wanted: Terms) -> SharedRateLimiter:
        return SharedRateLimiter(
            self.valkey,
            local,
            per_minute=wanted.per_minute,
            burst=wanted.burst,
            what=wanted.what,
            on_degraded=lambda: services.metrics.shared_state_lost("rates"),
        )

    def _of_addresses(
        self, services: Services, local: RateLimiter, settings: Settings
    ) -> LeasedRate | SharedRateLimiter:
        wanted = request_terms(settings)
        terms = lease_terms(wanted.per_minute, wanted.burst)
        if terms is None:
            return self._limiter(services, local, wanted)
        lost = services.metrics.shared_state_lost
        return LeasedRate(self.valkey, local, services.clock, terms, on_degraded=lambda: lost("rates"))

    async def close(self) -> None:
        await self.streams.close()
        await self.bus.close()
        await self.valkey.close()
