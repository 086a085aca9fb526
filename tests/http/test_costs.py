"""The costs by the API: those of the console, of one's own tenant. Who gets them is in `test_access`."""

from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Role
from tests.http.api import Api
from tests.reports.counted import count


@pytest.fixture(autouse=True)
def past_the_hour(clock: FrozenClock) -> None:
    """What happens in the very moment of asking is not in the time until then."""
    clock.advance(60)


async def seen(api: Api, query: str = "", tenant_id: str = "default", status: int = 200) -> Any:
    services = api.world.services
    await count(api.world)
    made = await services.keys.create(
        tenant_id=tenant_id, subject="vera", role=Role.VIEWER, at=services.clock.micros(), scopes=[]
    )
    answer = await api.get(f"/v1/costs{query}", key=made.text)
    assert answer.status_code == status
    return answer.json()


async def test_tells_calls_by_model_release_and_time_and_what_nobody_knows(api: Api) -> None:
    for _ in range(2):
        await api.world.say(await api.world.open(), "hello")
    body = await seen(api, "?range=24h")
    assert (body["object"], body["bucket"], body["currency"]) == ("costs", "hour", "USD")
    # Nobody says what the scripted model costs.
    assert (body["calls"], body["cost_micros"], body["unpriced_calls"]) == (2, None, 2)
    (model,), (release,) = body["models"], body["releases"]
    assert (model["provider"], model["model"], model["calls"]) == ("scripted", "scripted", 2)
    assert (release["release_id"], release["instructions"]) == (
        api.world.release.id,
        api.world.release.instructions_hash,
    )
    assert sum(each["calls"] for each in body["series"]) == sum(each["calls"] for each in body["unpriced"]) == 2


async def test_is_narrowed_down_by_what_the_address_says(api: Api) -> None:
    await api.world.say(await api.world.open(), "hello")
    body = await seen(api, "?channel=openai")
    assert (body["channel"], body["calls"], body["models"], body["cost_micros"]) == ("openai", 0, [], 0)
    error = (await seen(api, "?agent=another", status=404))["error"]
    assert (error["param"], "there are: shop" in error["message"]) == ("agent", True)


async def test_tells_nothing_of_another_tenant(api: Api) -> None:
    await api.world.say(await api.world.open(), "hello")
    body = await seen(api, tenant_id="other")
    assert (body["calls"], body["models"], body["agents"]) == (0, [], [])


async def test_names_the_ranges_when_another_is_asked_for(api: Api) -> None:
    error = (await seen(api, "?range=3y", status=400))["error"]
    assert error["param"] == "range"
    assert "24h, 7d, 28d, 90d" in error["message"]
