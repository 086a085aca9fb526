"""The page of switches and breakers as a browser without scripts gets it."""

import httpx2
import pytest

from handrail.core.principal import Principal, Role
from handrail.flows.switches import SwitchWanted, switch_off
from handrail.serving.resilience import tool_key
from tests.console.console import ORIGIN, Console

OURS = {"sec-fetch-site": "same-origin", "origin": ORIGIN}
OPERATOR = Principal("default", "demo-operator", frozenset({Role.OPERATOR}))


async def post(console: Console, path: str = "/console/switches", **fields: str) -> httpx2.Response:
    return await console.client.post(path, data=fields, headers=OURS)


async def test_a_form_switches_off_and_another_on_again(console: Console):
    assert "Nothing is switched off" in (await console.get("/console/switches")).text
    answer = await post(console, kind="model", name="scripted/fixed", reason="<b>it mails</b> too much")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/switches")
    (off,) = console.services.switches.all()
    page = (await console.get("/console/switches")).text
    assert "&lt;b&gt;it mails&lt;/b&gt;" in page
    assert f'action="/console/switches/{off.id}"' in page
    answer = await post(console, f"/console/switches/{off.id}", reason="mended")
    assert answer.status_code == 303
    assert console.services.switches.all() == []
    assert "mended" in (await console.get("/console/switches")).text


async def test_says_so_when_no_release_knows_the_name(console: Console):
    page = await post(console, kind="model", name="scripted/fixde", reason="it pays twice")
    assert "is off, but no release that is loaded has a model" in page.text
    assert "did you mean &#39;scripted/fixed&#39;" in page.text
    assert [each.name for each in console.services.switches.all()] == ["scripted/fixde"]


async def test_shows_each_breaker_with_its_state(console: Console):
    console.services.breakers.force_open(tool_key("shop", "send_mail"), "by hand")
    console.services.breakers.guard(tool_key("another", "get_order")).success(0.1)
    page = (await console.get("/console/switches")).text
    assert "None yet" in page or "send_mail" not in page, "a tool of no release of this tenant is not shown"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"kind": "tool", "name": "x", "reason": ""}, 422),
        ({"kind": "tool", "name": " ", "reason": "x"}, 422),
        ({"kind": "database", "name": "x", "reason": "x"}, 422),
        ({"kind": "tool", "name": "x" * 201, "reason": "x"}, 422),
        ({"kind": "agent", "name": "nobody", "reason": "x"}, 409),
        ({"kind": "tool", "name": "x", "reason": "x", "stop_running": "yes"}, 409),
    ],
)
async def test_what_is_missing_or_wrong_is_said_and_switches_nothing(
    console: Console, fields: dict[str, str], status: int
):
    answer = await post(console, **fields)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert console.services.switches.all() == []


async def test_a_form_of_another_site_is_refused(console: Console):
    headers = {"sec-fetch-site": "cross-site"}
    fields = {"kind": "tool", "name": "x", "reason": "x"}
    assert (await console.client.post("/console/switches", data=fields, headers=headers)).status_code == 403
    off = await switch_off(console.services, OPERATOR, SwitchWanted("tool", "x", "x"))
    answer = await console.client.post(f"/console/switches/{off.id}", data={}, headers=headers)
    assert answer.status_code == 403
    assert console.services.switches.all() == [off]


async def test_nobody_is_an_operator_by_visiting_once_keys_exist(console: Console):
    off = await switch_off(console.services, OPERATOR, SwitchWanted("tool", "x", "it is plum"))
    await console.services.keys.create(tenant_id="default", subject="x", role=Role.END_USER, at=1)
    console.services.authenticator.forget()
    page = await console.get("/console/switches")
    assert page.status_code == 401
    assert "plum" not in page.text
    assert (await post(console, kind="tool", name="y", reason="y")).status_code == 401
    assert (await post(console, f"/console/switches/{off.id}")).status_code == 401
    assert console.services.switches.all() == [off]
