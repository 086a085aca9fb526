"""The agent has the rights of the user it works for: by role, by condition, and after whatever people decided."""

import json
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.documents import ProjectError
from handrail.core.principal import Principal, Role
from handrail.db import Database
from handrail.delivery.releases import Sources
from handrail.flows.approval import decide
from handrail.flows.sender import sender_of
from handrail.oversight.approvals import Approval
from handrail.protection.audit import AuditQuery
from handrail.serving.models import calls
from tests.flows.desk import Desk
from tests.flows.world import ANA, PROJECT, World, closed, until, world_over

OLGA = Principal("default", "olga", frozenset({Role.APPROVER, Role.OPERATOR, Role.ADMIN}))
POLICIES = """
permissions:
  refund: {roles: [end_user], when: "args.order == 'A1001' || principal.subject == 'carl'"}
  get_stock: {roles: [end_user], when: "conversation.channel == 'api' && args.item.startsWith('sku-')"}
  close_account: {roles: [operator], when: "principal.tenant == 'default'"}
approvals:
- {name: refunds, tools: [refund], risk: high, expires_after: 2h}
"""
UNGUARDED = {**PROJECT, "policies.yaml": POLICIES.partition("approvals:")[0]}


@pytest.fixture
async def world(sqlite_db: Database, clock: FrozenClock):
    made = await world_over(sqlite_db, clock, project={**PROJECT, "policies.yaml": POLICIES})
    yield made
    await closed(made)


@pytest.fixture
async def unguarded(sqlite_db: Database, clock: FrozenClock):
    made = await world_over(sqlite_db, clock, project=UNGUARDED)
    yield made
    await closed(made)


def error_of(world: World) -> dict[str, Any]:
    """What the model was told of its last call."""
    told = [message.content for message in world.model.requests[-1].messages if message.role == "tool"]
    return json.loads(told[-1])["error"]


class TestCondition:
    async def test_that_holds_lets_the_call_run_and_otherwise_nothing_happens(self, unguarded: World, desk: Desk):
        for order, ran in (("A1001", ["refund"]), ("A1002", [])):
            desk.clear()
            unguarded.script(calls(("refund", {"order": order})), "That is it.")
            await unguarded.say(await unguarded.open(), "I want a refund")
            assert desk.names() == ran
        error = error_of(unguarded)
        assert error["code"] == "permission_denied"
        assert "which is not so here" in error["message"]

    async def test_knows_whose_call_it_is(self, unguarded: World, desk: Desk):
        carl = Principal("default", "carl")
        unguarded.script(calls(("refund", {"order": "A1002"})), "Done.")
        await unguarded.say(await unguarded.open(carl), "I want a refund", carl)
        assert desk.names() == ["refund"]

    @pytest.mark.parametrize("arguments", [{}, {"item": 7}, {"item": None}, {"item": ["sku-1"]}, {"other": "sku-1"}])
    async def test_that_can_not_be_judged_refuses(self, unguarded: World, desk: Desk, arguments: dict[str, Any]):
        unguarded.script(calls(("get_stock", arguments)), "I can't.")
        await unguarded.say(await unguarded.open(), "how many are left?")
        assert desk.seen == []
        error = error_of(unguarded)
        assert error["code"] == "permission_denied"
        assert "could not be judged" in error["message"]

    async def test_does_not_stand_for_the_role(self, unguarded: World, desk: Desk):
        unguarded.script(calls(("close_account", {})), "I may not.")
        await unguarded.say(await unguarded.open(), "close my account")
        assert desk.seen == []
        operator = Principal("default", "otto", frozenset({Role.OPERATOR}))
        unguarded.script(calls(("close_account", {})), "Closed.")
        await unguarded.say(await unguarded.open(operator), "close it", operator)
        assert desk.names() == ["close_account"]

    async def test_that_refuses_is_counted_and_audited(self, unguarded: World, desk: Desk):
        unguarded.script(calls(("refund", {"order": "A1002"})), "I may not.")
        await unguarded.say(await unguarded.open(), "I want a refund")
        assert b'handrail_denied_total{code="permission_denied"} 1.0' in unguarded.services.metrics.render()
        await unguarded.services.audit.flush()
        (record,) = await unguarded.services.audit.store.search(AuditQuery("default", action="tool_call.denied"))
        assert record.outcome == "denied"


async def asked(world: World, order: str = "A1001") -> Approval:
    world.script(calls(("refund", {"order": order})), "That is settled.", repeats=False)
    result = await world.say(await world.open(), "I want a refund")
    assert result["status"] == "requires_action", result
    (waiting,) = await world.services.approvals.of_turn("default", result["id"])
    return waiting


async def decided(world: World, approval: Approval, decision: Any = "approve", **more: Any) -> None:
    fingerprint = approval.fingerprint
    await decide(world.services, OLGA, approval.id, decision, fingerprint=fingerprint, reason="fine", **more)
    await until(lambda: approval.call.turn_id not in world.services.running)


class TestAfterAnApproval:
    async def test_the_call_is_made_in_the_user_s_name_and_not_in_the_approver_s(self, world: World, desk: Desk):
        await decided(world, await asked(world))
        assert desk.names() == ["refund"]
        assert desk.contexts[0].principal == ANA

    async def test_what_the_user_may_not_have_done_is_not_even_asked_for(self, world: World, desk: Desk):
        world.script(calls(("refund", {"order": "A1002"})), "I may not.")
        result = await world.say(await world.open(), "I want a refund")
        assert result["status"] == "completed"
        assert await world.services.approvals.of_turn("default", result["id"]) == []

    async def test_a_permission_taken_away_meanwhile_holds_against_the_approval(self, world: World, desk: Desk):
        approval = await asked(world)
        stricter = {**PROJECT, "policies.yaml": "permissions: {refund: {roles: [operator]}}\n"}
        files = {path: text.encode() for path, text in stricter.items()}
        made = await world.services.releases.create("default", Sources(files), author="test")
        await world.services.releases.use("default", made.id)
        await decided(world, approval)
        assert desk.seen == []
        assert error_of(world)["code"] == "permission_denied"

    async def test_an_approver_can_not_edit_a_call_into_what_the_user_may_not_have_done(self, world: World, desk: Desk):
        approval = await asked(world)
        await decided(world, approval, "edit", arguments={"order": "A1002"})
        assert desk.seen == []
        assert error_of(world)["code"] == "permission_denied"


class TestWhoeverGoesOn:
    async def test_has_the_rights_of_who_sent_the_message_no_more_and_no_less(self, world: World, desk: Desk):
        operator = Principal("default", "otto", frozenset({Role.OPERATOR}))
        world.script(calls(("close_account", {})), "Closed.", repeats=False)
        desk.acts["close_account"] = lambda: {"closed": True}
        conversation = await world.open(operator)
        result = await world.say(conversation, "close it", operator)
        turn = await world.stored(result["id"])
        assert sender_of(turn, conversation) == operator
        ana = await world.open()
        world.script("Hello.")
        turn = await world.stored((await world.say(ana, "hello"))["id"])
        assert (sender_of(turn, ana), turn.roles) == (ANA, ())

    async def test_has_their_scopes_and_teams_in_conditions_after_a_pause(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ):
        when = "'accounts' in principal.scopes && 'north' in principal.teams"
        policies = (
            f'permissions: {{close_account: {{roles: [operator], when: "{when}"}}}}\n'
            "approvals:\n- {name: closing, tools: [close_account], risk: high, expires_after: 2h}\n"
        )
        world = await world_over(sqlite_db, clock, project={**PROJECT, "policies.yaml": policies})
        desk.acts["close_account"] = lambda: {"closed": True}
        outcomes: list[bool] = []
        for number, (scopes, teams) in enumerate(
            [({"accounts", "x"}, {"north"}), ({"x"}, {"north"}), ({"accounts"}, set[str]()), (set[str](), set[str]())]
        ):
            sender = Principal(
                "default", f"otto{number}", frozenset({Role.OPERATOR}), frozenset(scopes), teams=frozenset(teams)
            )
            world.script(calls(("close_account", {})), "Settled.", repeats=False)
            conversation = await world.open(sender)
            result = await world.say(conversation, "close it", sender)
            assert sender_of(await world.stored(result["id"]), conversation) == sender
            desk.clear()
            for approval in await world.services.approvals.of_turn("default", result["id"]):
                await decided(world, approval)
            outcomes.append(desk.names() == ["close_account"])
        assert outcomes == [True, False, False, False]
        await closed(world)

    async def test_of_an_operator_is_no_end_user_after_a_pause(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ):
        policies = (
            "permissions: {close_account: {roles: [operator]}}\n"
            "approvals:\n- {name: closing, tools: [close_account], risk: high, expires_after: 2h}\n"
        )
        world = await world_over(sqlite_db, clock, project={**PROJECT, "policies.yaml": policies})
        operator = Principal("default", "otto", frozenset({Role.OPERATOR}))
        world.script(calls(("close_account", {}), ("get_stock", {"item": "x"})), "Settled.", repeats=False)
        result = await world.say(await world.open(operator), "close it", operator)
        (approval,) = await world.services.approvals.of_turn("default", result["id"])
        desk.clear()
        await decided(world, approval)
        assert ("close_account", operator) in [
            (name, context.principal) for (name, _), context in zip(desk.seen, desk.contexts, strict=True)
        ]
        assert "get_stock" not in desk.names(), "without a rule that is for end users"
        await closed(world)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("args.order ==", "is not valid CEL"),
        ("args.ordre == 'A1001'", "reads 'args.ordre', which does not exist"),
        ("user.role == 'x'", "reads 'user', which is not known"),
        ("args.order > 5", "compares kinds that can't be compared"),
        ("args.order", "not true or false"),
    ],
)
async def test_a_condition_that_can_never_hold_fails_the_release(world: World, when: str, said: str):
    policies = f'permissions:\n  refund:\n    roles: [end_user]\n    when: "{when}"\n'
    files = {path: text.encode() for path, text in {**PROJECT, "policies.yaml": policies}.items()}
    with pytest.raises(ProjectError, match=r"policies\.yaml:4") as failed:
        await world.services.releases.create("default", Sources(files), author="test")
    assert said in str(failed.value)
