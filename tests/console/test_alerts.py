"""The alerts page as a browser without scripts gets it."""

import httpx2
import pytest

from handrail.console.runbook import blocks, runbook
from handrail.core.principal import Role
from handrail.insight.alerts import RULES, Alert, AlertsFile, Finding, RecordingSender, Rules, look
from handrail.insight.alerts.lifecycle import Change
from tests.console.console import ORIGIN, Console

OURS = {"sec-fetch-site": "same-origin", "origin": ORIGIN}


async def post(console: Console, path: str, **fields: str) -> httpx2.Response:
    return await console.client.post(f"/console/alerts/{path}", data=fields, headers=OURS)


async def fire(
    console: Console, rule: str = "job_failed", said: str = "<b>it</b> failed", tenant: str = "*", **labels: str
) -> Alert:
    at = console.services.clock.micros()
    after = look([], [Finding(rule, tenant, labels, "bad", said)], Rules(), at)[0].after
    assert after is not None
    async with console.services.db.batch() as batch:
        console.services.alerts.store.apply(batch, Change(None, after))
    return after


@pytest.fixture
def sender(console: Console) -> RecordingSender:
    console.services.alerts.sender = RecordingSender(("ops",))
    return console.services.alerts.sender


async def test_says_what_to_do_where_nothing_is_wrong_and_nobody_is_told(console: Console) -> None:
    console.services.alerts.sender = RecordingSender(())
    page = (await console.get("/console/alerts")).text
    assert "Nothing is wrong." in page
    assert "HANDRAIL_ALERTS__CHANNELS__OPS" in page


async def test_shows_what_fires_and_takes_an_acknowledgement(console: Console, sender: RecordingSender) -> None:
    alert = await fire(console, job="retention")
    page = (await console.get("/console/alerts")).text
    assert "&lt;b&gt;it&lt;/b&gt; failed" in page
    assert '/console/runbook#job_failed"' in page
    answer = await post(console, alert.id, note="looking <i>at</i> it")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/alerts")
    page = (await console.get("/console/alerts")).text
    assert "Acknowledged by demo-operator" in page
    assert "looking &lt;i&gt;at&lt;/i&gt; it" in page


async def test_one_alert_has_a_page_with_who_was_told_and_a_way_to_silence_it(
    console: Console, sender: RecordingSender
) -> None:
    alert = await fire(console, "error_rate", tenant="default", agent="my shop")
    page = (await console.get(f"/console/alerts/{alert.id}")).text
    assert "Error rate, agent my shop" in page
    assert "Nobody was told of it." in page
    assert "/console/conversations?agent=my+shop&amp;happened=error&amp;since=" in page
    link = "/console/alerts?rule=error_rate&amp;label=agent&amp;value=my%20shop#new"
    assert link in page
    form = (await console.get(link.replace("&amp;", "&"))).text
    assert '<option value="error_rate" selected>' in form
    assert 'name="value" maxlength="120"' in form
    assert 'value="my shop"' in form
    assert (await console.get("/console/alerts/alrt_none")).status_code == 404


async def test_what_is_of_the_whole_deployment_is_for_its_own_operators(
    console: Console, sender: RecordingSender
) -> None:
    alert = await fire(console, job="retention")
    console.services.alerts.operated_by = "platform"
    page = (await console.get("/console/alerts")).text
    assert "Acknowledge" not in page
    assert "Send a test" not in page
    answer = await post(console, alert.id, note="mine")
    assert "operators of tenant &#39;platform&#39; look after it" in answer.text
    assert "operators of tenant" in (await post(console, "channels/ops")).text


async def test_a_silence_that_was_wrong_keeps_what_was_typed(console: Console) -> None:
    answer = await post(console, "silences", hours="many", reason="a <b>load</b> test", rule="error_rate")
    assert 'value="a &lt;b&gt;load&lt;/b&gt; test"' in answer.text
    assert '<option value="error_rate" selected>' in answer.text


async def test_a_form_silences_and_another_tells_again(console: Console, sender: RecordingSender) -> None:
    answer = await post(console, "silences", rule="error_rate", label="agent", value="shop", hours="2", reason="deploy")
    assert answer.status_code == 303
    (silence,) = await console.services.alerts.store.silences()
    assert silence.matchers == {"rule": "error_rate", "agent": "shop"}
    assert "deploy" in (await console.get("/console/alerts")).text
    assert (await post(console, f"silences/{silence.id}")).status_code == 303
    assert await console.services.alerts.store.silences() == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"hours": "2", "reason": ""}, 409),
        ({"hours": "many", "reason": "x"}, 422),
        ({"hours": "nan", "reason": "x"}, 409),
        ({"hours": "1", "reason": "x", "rule": "nonsense"}, 422),
        ({"hours": "1", "reason": "x", "label": "agent"}, 422),
    ],
)
async def test_what_is_missing_or_wrong_is_said_and_silences_nothing(
    console: Console, fields: dict[str, str], status: int
) -> None:
    answer = await post(console, "silences", **fields)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert await console.services.alerts.store.silences() == []


async def test_a_test_message_says_what_became_of_it(console: Console, sender: RecordingSender) -> None:
    answer = await post(console, "channels/ops")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/alerts?tested=ops")
    assert "A test message was sent to ops." in (await console.get("/console/alerts?tested=ops")).text
    assert "A test message" not in (await console.get("/console/alerts?tested=nothing")).text
    sender.failing = {"ops"}
    assert "ops took no message: no answer." in (await post(console, "channels/ops")).text
    assert (await post(console, "channels/nothing")).status_code == 409


async def test_maintenance_of_the_file_is_shown(console: Console, sender: RecordingSender) -> None:
    windows = [
        {"name": "backup", "days": ["sun"], "at": "02:00", "lasts": "2h"},
        {"name": "nightly", "at": "03:00", "lasts": "1h"},
        {"name": "move", "from": "2026-11-28T22:00:00Z", "until": "2026-11-29T02:00:00Z"},
    ]
    console.services.alerts.config.file = AlertsFile.model_validate({"maintenance": windows})
    page = (await console.get("/console/alerts")).text
    assert "backup: sun at 02:00 UTC for 2h" in page
    assert "nightly: every day at 03:00 UTC for 1h" in page
    assert "move: 2026-11-28T22:00:00Z to 2026-11-29T02:00:00Z" in page


async def test_an_address_of_a_runbook_that_is_no_web_page_is_no_link(console: Console) -> None:
    rules = {"job_failed": {"runbook": "javascript:alert(1)"}}
    console.services.alerts.config.file = AlertsFile.model_validate({"rules": rules})
    await fire(console, job="x")
    page = (await console.get("/console/alerts")).text
    assert "javascript:" not in page


async def test_a_form_of_another_site_is_refused(console: Console) -> None:
    alert = await fire(console, job="x")
    for path in (alert.id, "silences", "channels/ops"):
        answer = await console.client.post(
            f"/console/alerts/{path}", data={"hours": "1", "reason": "x"}, headers={"sec-fetch-site": "cross-site"}
        )
        assert answer.status_code == 403


async def test_nobody_looks_by_visiting_once_keys_exist(console: Console) -> None:
    await console.services.keys.create(tenant_id="default", subject="x", role=Role.END_USER, at=1)
    console.services.authenticator.forget()
    for path in ("/console/alerts", "/console/runbook"):
        assert (await console.get(path)).status_code == 401


class TestRunbook:
    async def test_every_rule_has_its_place_on_the_page(self, console: Console) -> None:
        page = (await console.get("/console/runbook")).text
        for name in RULES:
            assert f'id="{name}"' in page

    def test_nothing_of_the_file_s_marks_is_left(self) -> None:
        texts = [text for block in runbook() if block.kind != "code" for text in (block.text, *block.items)]
        assert not any("](" in text or "**" in text or text.startswith(("#", "- ")) for text in texts)

    def test_lists_and_examples_are_kept_apart(self) -> None:
        found = blocks("# A\n\n1. one\n   more\n2. two\n\n- `x` [y](z.md)\n- **b**\n\n```sh\nrun me\n```")
        assert [(each.kind, each.text, each.items) for each in found] == [
            ("title", "A", ()),
            ("numbers", "", ("one more", "two")),
            ("points", "", ("`x` y", "b")),
            ("code", "run me", ()),
        ]
