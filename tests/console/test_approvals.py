"""The approvals page as a browser without scripts gets it."""

import pytest

from handrail.core.principal import Principal, Role
from handrail.flows.conversations import open_conversation
from handrail.flows.turn import take_turn
from handrail.oversight.approvals import Approval, ApprovalStatus, Clause, GuardedCall, Requirement, Risk, opened
from tests.console.console import ORIGIN, Console

CUSTOMER = Principal("default", "demo-customer")


MAILS = Clause("mails", 1, frozenset({Role.APPROVER}))


async def waiting(console: Console, clause: Clause = MAILS) -> Approval:
    """Something that waits for a person."""
    services = console.services
    conversation = await open_conversation(services, CUSTOMER, "echo")
    stream = await take_turn(services, CUSTOMER, conversation.id, "hello there")
    await stream.wait()
    requirement = Requirement(Risk.HIGH, (clause,), False, 7200, "A <b>mail</b>")
    call = GuardedCall(
        "default", conversation.id, stream.turn_id, f"call_{stream.turn_id}", "echo", conversation.release_id,
        CUSTOMER.subject, "send_mail", {"text": "<script>alert(1)</script>"},
    )  # fmt: skip
    approval = opened(call, requirement, services.clock.micros())
    async with services.db.batch() as batch:
        services.approvals.open(batch, approval)
    return approval


async def post(console: Console, approval: Approval, **changed: str):
    fields = {"decision": "approve", "fingerprint": approval.fingerprint, "reason": ""} | changed
    headers = {"sec-fetch-site": "same-origin", "origin": ORIGIN}
    return await console.client.post(f"/console/approvals/{approval.id}", data=fields, headers=headers)


async def status_of(console: Console, approval: Approval) -> ApprovalStatus:
    found = await console.services.approvals.find("default", approval.id)
    assert found is not None
    return found.status


async def test_shows_what_waits_escaped_and_says_when_nothing_does(console: Console):
    assert "Nothing waits" in (await console.get("/console/approvals")).text
    approval = await waiting(console)
    page = (await console.get("/console/approvals")).text
    assert approval.id in page
    assert "A &lt;b&gt;mail&lt;/b&gt;" in page
    assert "<script>alert" not in page
    assert "expires in" in page
    one = (await console.get(f"/console/approvals/{approval.id}")).text
    assert "&lt;script&gt;alert" in one
    assert "<script>alert" not in one
    assert (await console.get("/console/approvals/appr_none")).status_code == 404


@pytest.mark.parametrize(
    ("decision", "status"), [("approve", ApprovalStatus.APPROVED), ("reject", ApprovalStatus.REJECTED)]
)
async def test_a_form_decides_once(console: Console, decision: str, status: ApprovalStatus):
    approval = await waiting(console)
    answer = await post(console, approval, decision=decision, reason="because")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/approvals")
    assert await status_of(console, approval) is status
    again = await post(console, approval, decision=decision, reason="because")
    assert again.status_code == 409
    assert "first decision stands" in again.text


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"fingerprint": "0" * 64}, 409),
        ({"decision": "edit"}, 422),
        ({"decision": "edit", "arguments": "[1]"}, 422),
        ({"decision": "edit", "arguments": "{"}, 422),
        ({"decision": "info"}, 422),
        ({"decision": ""}, 422),
        ({"decision": "reject"}, 422),
    ],
    ids=[
        "another call than shown",
        "no arguments",
        "a list",
        "no JSON",
        "no question",
        "no button",
        "a rejection without a reason",
    ],
)
@pytest.mark.parametrize("page", ["", "one"])
async def test_what_is_missing_or_wrong_is_said_and_decides_nothing(
    console: Console, changed: dict[str, str], code: int, page: str
):
    approval = await waiting(console)
    answer = await post(console, approval, **{"from": page}, **changed)
    assert answer.status_code == code
    assert 'role="alert"' in answer.text
    assert ("Approve the edit" in answer.text) == (page == "one")
    assert await status_of(console, approval) is ApprovalStatus.PENDING


async def test_a_question_stands_in_the_history_until_it_is_answered(console: Console):
    approval = await waiting(console)
    answer = await post(console, approval, decision="info", reason="Which Ana?")
    assert answer.headers["location"] == f"/console/approvals/{approval.id}"
    page = (await console.get(answer.headers["location"])).text
    assert "Which Ana?" in page
    assert "No answer yet" in page


async def test_the_same_action_asked_for_twice_is_decided_by_one_form(console: Console):
    first, second = await waiting(console), await waiting(console)
    page = (await console.get("/console/approvals")).text
    assert "Approve all 2" in page
    pairs = [f"{each.id}:{each.fingerprint}" for each in (first, second)]
    headers = {"sec-fetch-site": "same-origin", "origin": ORIGIN}
    fields = {"decision": "approve", "approval": pairs}
    answer = await console.client.post("/console/approvals/together", data=fields, headers=headers)
    assert answer.status_code == 303
    assert [await status_of(console, each) for each in (first, second)] == [ApprovalStatus.APPROVED] * 2
    again = await console.client.post("/console/approvals/together", data=fields, headers=headers)
    assert (again.status_code, "0 of 2 were decided" in again.text) == (409, True)
    assert "demo-operator" in (await console.get("/console/approvals")).text.partition("How fast people decide")[2]


async def test_what_others_decide_is_shown_without_a_form(console: Console):
    approval = await waiting(console, Clause("legal", 1, frozenset(), frozenset({"lawyers"})))
    page = (await console.get("/console/approvals")).text
    assert "Waiting for other people" in page
    assert "team &#39;lawyers&#39;" in page
    one = (await console.get(f"/console/approvals/{approval.id}")).text
    assert "You can&#39;t approve this" in one or "You can't approve this" in one
    assert "<form" not in one


async def test_a_form_of_another_site_is_refused(console: Console):
    approval = await waiting(console)
    answer = await console.client.post(
        f"/console/approvals/{approval.id}",
        data={"decision": "approve", "fingerprint": approval.fingerprint},
        headers={"sec-fetch-site": "cross-site"},
    )
    assert answer.status_code == 403
    assert await status_of(console, approval) is ApprovalStatus.PENDING


async def test_nobody_is_an_operator_by_visiting_once_keys_exist(console: Console):
    approval = await waiting(console)
    await console.services.keys.create(tenant_id="default", subject="x", role=Role.END_USER, at=1)
    console.services.authenticator.forget()
    page = await console.get("/console/approvals")
    assert page.status_code == 401
    assert approval.id not in page.text
    assert (await post(console, approval)).status_code == 401
    assert (await console.get(f"/console/approvals/{approval.id}")).status_code == 401
    assert await status_of(console, approval) is ApprovalStatus.PENDING
