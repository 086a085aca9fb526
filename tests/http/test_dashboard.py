"""The dashboard's numbers by the API: those of the console, of one's own tenant. Who gets them is in `test_access`."""

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
    answer = await api.get(f"/v1/dashboard{query}", key=made.text)
    assert answer.status_code == status
    return answer.json()


async def test_tells_what_was_counted_by_time_intent_and_instructions(api: Api) -> None:
    for _ in range(2):
        await api.world.say(await api.world.open(), "hello")
    body = await seen(api, "?range=24h")
    assert (body["object"], body["bucket"], body["turns"], body["conversations"], body["pending"]) == (
        "dashboard", "hour", 2, 2, 2,
    )  # fmt: skip
    assert sum(each["turns"] for each in body["series"]) == 2
    assert sum(each["conversations"] for each in body["intents"]) == 2
    (said,) = body["instructions"]
    assert (said["hash"], said["agent"]) == (api.world.release.instructions_hash, api.world.release.config.name)
    assert (said["turns"], said["resolved"]["value"], said["errors"]["count"]) == (2, None, 0)


async def test_is_narrowed_down_by_what_the_address_says(api: Api) -> None:
    await api.world.say(await api.world.open(), "hello")
    body = await seen(api, "?channel=openai")
    assert (body["channel"], body["turns"], body["intents"], body["instructions"]) == ("openai", 0, [], [])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("agent", "there is no agent 'another'; there are: shop"),
        ("release_id", "there is no release 'another'; there are: rel_"),
        ("intent", "there is no intent 'another'; there are: chat, hours, order_status, refund"),
        ("channel", "there is no channel 'another'; there are: api, console, openai"),
    ],
)
async def test_says_that_nothing_has_a_name_and_which_there_are(api: Api, name: str, said: str) -> None:
    await api.world.say(await api.world.open(), "hello")
    error = (await seen(api, f"?{name}=another", status=404))["error"]
    assert error["param"] == name
    assert error["message"].startswith(said)


@pytest.mark.parametrize("name", ["agent", "intent", "release_id"])
async def test_a_name_of_which_there_is_nothing_yet_is_known(api: Api, name: str) -> None:
    known = {"agent": "shop", "intent": "refund", "release_id": api.world.release.id}[name]
    assert (await seen(api, f"?{name}={known}"))["turns"] == 0


async def test_tells_nothing_of_another_tenant(api: Api) -> None:
    await api.world.say(await api.world.open(), "hello")
    body = await seen(api, tenant_id="other")
    assert (body["turns"], body["conversations"], body["intents"]) == (0, 0, [])


async def test_names_the_ranges_when_another_is_asked_for(api: Api) -> None:
    error = (await seen(api, "?range=3y", status=400))["error"]
    assert error["param"] == "range"
    assert "24h, 7d, 28d, 90d" in error["message"]
