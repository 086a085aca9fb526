"""The services of the drill: those of a server, over a folder of their own and with little patience."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from handrail.bootstrap import services_from
from handrail.flows.services import Services
from handrail.settings import RateLimitSettings, ResilienceSettings, Settings, StoreSettings
from handrail.testing.drill.shop import FIRST_TOKEN_SECONDS


def drill_services(
    folder: Path, database_url: str | None = None, valkey_url: str | None = None
) -> AbstractAsyncContextManager[Services]:
    settings = Settings(
        data_dir=folder,
        database_url=database_url,
        valkey_url=valkey_url,
        rate_limit=RateLimitSettings(turns_per_minute=100_000, burst=100_000),
        resilience=ResilienceSettings(first_token_seconds=FIRST_TOKEN_SECONDS),
        store=StoreSettings(timeout_seconds=1.0),
    )
    return services_from(settings)
