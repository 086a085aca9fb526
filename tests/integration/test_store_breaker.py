"""A PostgreSQL that stops answering is soon left alone by everybody, and used again when it is back."""

import asyncio
from pathlib import Path

import pytest

from handrail.bootstrap import services_from
from handrail.core.clock import FrozenClock
from handrail.db import StoreUnavailable
from handrail.flows.services import Services
from handrail.serving.resilience import BreakerState
from handrail.settings import Settings, StoreSettings
from handrail.testing import FaultProxy, HalfOpen

pytestmark = pytest.mark.postgres


async def test_a_dead_server_is_not_waited_for_by_every_request(
    postgres_url: str, tmp_path: Path, clock: FrozenClock
) -> None:
    port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    async with FaultProxy(port) as proxy:
        settings = Settings(
            data_dir=tmp_path,
            database_url=postgres_url.replace(f":{port}/", f":{proxy.port}/"),
            store=StoreSettings(timeout_seconds=0.5, open_seconds=5),
        )
        async with services_from(settings, clock) as services:
            await services.conversations.ping()
            proxy.fault = HalfOpen()
            ends = await asyncio.gather(*(services.conversations.ping() for _ in range(80)), return_exceptions=True)
            assert all(isinstance(end, StoreUnavailable) for end in ends)
            (status,) = [each for each in services.breakers.states() if each.key == "store"]
            assert status.state is BreakerState.OPEN
            with pytest.raises(StoreUnavailable, match="left alone") as refused:
                await services.conversations.ping()
            assert refused.value.retry_after_seconds == 5.0
            proxy.fault = None
            assert await _answers_again(services, clock)


async def _answers_again(services: Services, clock: FrozenClock) -> bool:
    """Whether a probe gets through: one every five seconds of a clock that only this moves."""
    for _ in range(200):
        clock.advance(5)
        try:
            await services.conversations.ping()
        except StoreUnavailable:
            await asyncio.sleep(0.1)
        else:
            return True
    return False
