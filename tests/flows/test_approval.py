"""A tool call that needs people: it waits, is decided once, and runs exactly as it was approved."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.errors import NotFound
from handrail.core.principal import Principal, Role
from handrail.db import Database
from handrail.flows.approval import ApprovalConflict, DecisionInvalid, NotEntitled, decide
from handrail.flows.cancel import cancel_turn
from handrail.flows.gauges import look
from handrail.flows.leases import sweep
from handrail.oversight.approvals import Approval, ApprovalStatus
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import calls
from tests.flows.desk import Desk
from tests.flows.world import ANA, PROJECT, World, closed, events_of, text_of, until, world_over

OLGA = Principal("default", "olga", frozenset({Role.APPROVER}))
OTTO = Principal("default", "otto", frozenset({Role.APPROVER}))
WAREHOUSE = frozenset({"warehouse"})
RULES = """
permissions: {close_account: {roles: [operator]}}
input: {max_characters: 500}
approvals:
- {name: mails, tools: [send_mail], risk: high, expires_after: 2h, reason: "Mail: {{ args.text }}"}
- {name: refunds, tools: [refund], when: "args.order != \'A1001\'", expires_after: 1h}
- {name: stock, tools: [get_stock], approvers: {teams: [warehouse]}, expires_after: 3h,
   remind_after: 30m, escalate_after: 1h, escalate_to: leads}
"""
GUARDED = {**PROJECT, "policies.yaml": RULES}


@pytest.fixture
async def guarded(db: Database, clock: FrozenClock):
    world = await world_over(db, clock, project=GUARDED)
    yield world
    await closed(world)


async def asked(world: World, *texts: str) -> tuple[str, list[Approval]]:
    """A turn in which the model asks for mails; returns the turn and what waits."""
    world.script(calls(*(("send_mail", {"text": text}) for text in texts)), "That is settled.", repeats=False)
    result = await world.say(await world.open(), "send it")
    assert result["status"] == "requires_action", result
    waiting = await world.services.approvals.of_turn("default", result["id"])
    assert result["approvals"] == [each.id for each in waiting]
    return result["id"], list(waiting)


async def decided(
    world: World, approval: Approval, decision: Any = "approve", by: Principal = OLGA, **more: Any
) -> Approval:
    more.setdefault("fingerprint", approval.fingerprint)
    return await decide(world.services, by, approval.id, decision, **more)


async def ended(world: World, turn_id: str) -> str:
    """Wait for the resumed turn; returns its answer."""
    await until(lambda: turn_id not in world.services.running)
    turn = await world.stored(turn_id)
    assert turn.status is TurnStatus.COMPLETED, turn
    return await world.answer(turn_id)


class TestWaiting:
    async def test_nothing_happens_and_the_user_is_told_what_waits_and_how_long(self, guarded: World, desk: Desk):
        turn_id, (approval,) = await asked(guarded, "hello")
        assert desk.seen == []
        said = await guarded.answer(turn_id)
        assert "send mail" in said
        assert "within 2 hours" in said or "within 1 hour" in said
        assert (approval.call.arguments, approval.reason) == ({"text": "hello"}, "Mail: hello")
        assert (await guarded.stored(turn_id)).status is TurnStatus.REQUIRES_ACTION

    async def test_a_call_that_no_rule_names_runs_at_once(self, guarded: World, desk: Desk):
        desk.acts["refund"] = lambda order: {"paid": order}
        guarded.script(calls(("refund", {"order": "A1001"})), "Paid.")
        assert (await guarded.say(await guarded.open(), "refund"))["status"] == "completed"
        assert [name for name, _ in desk.seen] == ["refund"]

    async def test_the_conversation_goes_on_meanwhile(self, guarded: World):
        guarded.script(calls(("send_mail", {"text": "x"})), "Of course.", "That is settled.")
        conversation = await guarded.open()
        parked = await guarded.say(conversation, "send it")
        assert (await guarded.say(conversation, "can we talk meanwhile?"))["message"]["content"] == "Of course."
        (approval,) = await guarded.services.approvals.of_turn("default", parked["id"])
        await decided(guarded, approval, "reject", reason="not today")
        assert await ended(guarded, parked["id"]) == "That is settled."

    async def test_a_decision_that_meets_a_running_turn_is_acted_on_when_that_one_ends(
        self, guarded: World, desk: Desk
    ):
        free = asyncio.Event()

        async def slowly(order: str) -> str:
            await free.wait()
            return order

        desk.acts["refund"] = slowly
        guarded.script(
            calls(("send_mail", {"text": "x"})), calls(("refund", {"order": "A1001"})), *["That is settled."] * 3
        )
        conversation = await guarded.open()
        parked = await guarded.say(conversation, "send it")
        running = await guarded.send(conversation, "and another thing")
        waiting = await guarded.send(conversation, "and a third one")
        await until(lambda: desk.names() == ["refund"])
        (approval,) = await guarded.services.approvals.of_turn("default", parked["id"])
        await decided(guarded, approval)
        assert (await guarded.stored(parked["id"])).status is TurnStatus.REQUIRES_ACTION
        free.set()
        for stream in (running, waiting):
            assert (await asyncio.wait_for(stream.wait(), 5))["status"] == "completed"
        assert (await guarded.stored(parked["id"])).status is TurnStatus.COMPLETED
        assert desk.names() == ["refund", "send_mail"]

    async def test_a_rejection_holds_although_the_rule_is_gone_since(
        self, db: Database, guarded: World, clock: FrozenClock, desk: Desk
    ):
        """The rule was the stable release's alone, and another one without it is stable when people decide."""
        ruleless = {**PROJECT, "policies.yaml": "permissions: {close_account: {roles: [operator]}}\n"}
        other = await world_over(db, clock, project=ruleless)
        conversation = await other.open()
        await guarded.services.releases.use("default", guarded.release.id)
        other.script(calls(("send_mail", {"text": "x"})), "That is settled.")
        parked = await other.say(conversation, "send it")
        assert parked["status"] == "requires_action"
        await other.services.releases.use("default", other.release.id)
        (approval,) = await other.services.approvals.of_turn("default", parked["id"])
        await decided(other, approval, "reject", reason="not today")
        assert await ended(other, parked["id"]) == "That is settled."
        assert desk.seen == []
        await closed(other)

    async def test_siblings_that_need_nobody_are_done_and_not_repeated(self, guarded: World, desk: Desk):
        desk.acts["get_order"] = lambda order: {"left": order}
        desk.acts["send_mail"] = lambda text: {"sent": text}
        guarded.script(calls(("get_order", {"order": "a"}), ("send_mail", {"text": "x"})), "Done.")
        result = await guarded.say(await guarded.open(), "both")
        assert [name for name, _ in desk.seen] == ["get_order"]
        (approval,) = await guarded.services.approvals.of_turn("default", result["id"])
        await decided(guarded, approval)
        assert await ended(guarded, result["id"]) == "Done."
        assert [name for name, _ in desk.seen] == ["get_order", "send_mail"]


class TestDecided:
    async def test_an_approved_call_runs_once_as_it_was_asked(self, guarded: World, desk: Desk):
        desk.acts["send_mail"] = lambda text: {"sent": text}
        turn_id, (approval,) = await asked(guarded, "hello")
        after = await decided(guarded, approval)
        assert (after.status, after.decided_by) == (ApprovalStatus.APPROVED, "olga")
        assert await ended(guarded, turn_id) == "That is settled."
        assert [arguments for _, arguments in desk.seen] == [{"text": "hello"}]
        await sweep(guarded.services)
        assert guarded.services.running == {}
        assert len(desk.seen) == 1

    async def test_an_edited_one_runs_as_it_was_edited(self, guarded: World, desk: Desk):
        desk.acts["send_mail"] = lambda text: {"sent": text}
        turn_id, (approval,) = await asked(guarded, "hello")
        await decided(guarded, approval, "edit", arguments={"text": "dear Ana"})
        await ended(guarded, turn_id)
        assert [arguments for _, arguments in desk.seen] == [{"text": "dear Ana"}]

    async def test_an_edit_that_does_not_fit_the_tool_is_refused_and_nothing_changes(self, guarded: World):
        _, (approval,) = await asked(guarded, "hello")
        with pytest.raises(DecisionInvalid, match="send_mail"):
            await decided(guarded, approval, "edit", arguments={"txt": 1})
        found = await guarded.services.approvals.find("default", approval.id)
        assert found == approval

    async def test_the_agent_hears_why_it_was_rejected(self, guarded: World, desk: Desk):
        turn_id, (approval,) = await asked(guarded, "hello")
        await decided(guarded, approval, "reject", reason="wrong customer")
        await ended(guarded, turn_id)
        told = [m.content for m in guarded.model.requests[-1].messages if m.role == "tool"]
        assert "wrong customer" in told[-1]
        assert json.loads(told[-1])["error"]["code"] == "rejected"
        assert desk.seen == []

    async def test_one_that_nobody_decided_in_time_is_never_done_and_the_agent_hears_so(
        self, guarded: World, clock: FrozenClock, desk: Desk
    ):
        turn_id, (approval,) = await asked(guarded, "hello")
        clock.advance(2 * 3600 + 1)
        with pytest.raises(ApprovalConflict, match="expired"):
            await decided(guarded, approval)
        await sweep(guarded.services)
        await ended(guarded, turn_id)
        told = [m.content for m in guarded.model.requests[-1].messages if m.role == "tool"]
        error = json.loads(told[-1])["error"]
        assert error["code"] == "approval_expired"
        assert "timed out" in error["message"]
        assert "nobody refused it" in error["message"]
        assert desk.seen == []

    async def test_a_turn_with_two_questions_parks_again_until_both_are_answered(self, guarded: World, desk: Desk):
        desk.acts["send_mail"] = lambda text: {"sent": text}
        turn_id, (first, second) = await asked(guarded, "a", "b")
        await decided(guarded, first)
        await until(lambda: turn_id not in guarded.services.running)
        assert (await guarded.stored(turn_id)).status is TurnStatus.REQUIRES_ACTION
        assert [arguments["text"] for _, arguments in desk.seen] == ["a"]
        await decided(guarded, second)
        assert await ended(guarded, turn_id) == "That is settled."
        assert [arguments["text"] for _, arguments in desk.seen] == ["a", "b"]

    async def test_those_decided_while_the_turn_runs_for_another_are_acted_on_once(self, guarded: World, desk: Desk):
        free = asyncio.Event()

        async def slowly(text: str) -> str:
            await free.wait()
            return text

        desk.acts["send_mail"] = slowly
        turn_id, (first, second, third) = await asked(guarded, "a", "b", "c")
        await decided(guarded, first)
        await until(lambda: len(desk.seen) == 1)
        await decided(guarded, second, "reject", reason="not this one")
        free.set()
        await decided(guarded, third)
        for _ in range(200):
            await sweep(guarded.services)
            if (await guarded.stored(turn_id)).status is TurnStatus.COMPLETED:
                break
            await asyncio.sleep(0.02)
        assert await ended(guarded, turn_id) == "That is settled."
        assert [arguments["text"] for _, arguments in desk.seen] == ["a", "c"]

    async def test_a_flow_goes_on_where_it_waited(self, guarded: World, desk: Desk):
        desk.acts["refund"] = lambda order: {"paid": order}
        guarded.head.knows("money back for B2002", "refund")
        conversation = await guarded.open()
        await guarded.say(conversation, "money back for B2002")
        parked = await guarded.say(conversation, "yes")
        assert parked["status"] == "requires_action"
        (approval,) = await guarded.services.approvals.of_turn("default", parked["id"])
        await decided(guarded, approval)
        assert await ended(guarded, parked["id"]) == "Order B2002 is refunded."
        assert [name for name, _ in desk.seen] == ["refund"]

    async def test_followers_see_the_parking_and_then_the_rest(self, guarded: World, desk: Desk):
        desk.acts["send_mail"] = lambda text: {"sent": text}
        turn_id, (approval,) = await asked(guarded, "hello")
        await decided(guarded, approval)
        await ended(guarded, turn_id)
        stream = guarded.services.streams.find(turn_id)
        assert stream is not None
        seen = await events_of(stream)
        assert seen[0].name == "message.restarted"
        assert text_of(seen) == await guarded.answer(turn_id)
        assert seen[-1].name == "turn.completed"


class TestTeams:
    async def test_a_member_of_the_rule_s_team_decides_whatever_their_role(self, guarded: World, desk: Desk):
        desk.acts["get_stock"] = lambda item: {"left": 3}
        guarded.script(calls(("get_stock", {"item": "a"})), "Three are left.")
        parked = await guarded.say(await guarded.open(), "how many?")
        (approval,) = await guarded.services.approvals.of_turn("default", parked["id"])
        for other in (OLGA, replace(OLGA, teams=frozenset({"payments"}))):
            with pytest.raises(NotEntitled, match="warehouse"):
                await decided(guarded, approval, by=other)
        await decided(guarded, approval, by=Principal("default", "wes", frozenset({Role.VIEWER}), teams=WAREHOUSE))
        assert await ended(guarded, parked["id"]) == "Three are left."

    async def test_another_team_may_decide_once_the_first_one_took_too_long(
        self, guarded: World, desk: Desk, clock: FrozenClock
    ):
        guarded.script(calls(("get_stock", {"item": "a"})), "Three are left.")
        parked = await guarded.say(await guarded.open(), "how many?")
        (approval,) = await guarded.services.approvals.of_turn("default", parked["id"])
        leah = Principal("default", "leah", frozenset({Role.VIEWER}), teams=frozenset({"leads"}))
        clock.advance(1801)
        await sweep(guarded.services)
        (reminded,) = await guarded.services.approvals.of_turn("default", parked["id"])
        assert (reminded.reminded_at, reminded.escalated_at) == (clock.micros(), None)
        with pytest.raises(NotEntitled, match="warehouse"):
            await decided(guarded, approval, by=leah)
        clock.advance(1800)
        await sweep(guarded.services)
        await decided(guarded, approval, by=leah)
        assert await ended(guarded, parked["id"]) == "Three are left."
        assert desk.names() == ["get_stock"]


class TestProcesses:
    async def test_a_decision_whose_process_dies_at_once_is_acted_on_by_another(
        self, db: Database, guarded: World, clock: FrozenClock, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ):
        desk.acts["send_mail"] = lambda text: {"sent": text}
        turn_id, (approval,) = await asked(guarded, "hello")

        async def dies(*_: Any) -> bool:
            return False

        monkeypatch.setattr("handrail.flows.approval.go_on", dies)
        await decided(guarded, approval)
        other = await world_over(db, clock, project=GUARDED)
        other.script("That is settled.")
        await asyncio.gather(sweep(guarded.services), sweep(other.services))
        await until(lambda: not guarded.services.running and not other.services.running)
        assert (await other.stored(turn_id)).status is TurnStatus.COMPLETED
        assert len(desk.seen) == 1
        await closed(other)

    async def test_a_turn_that_dies_while_it_asks_is_taken_over_and_asks_once(
        self, db: Database, guarded: World, clock: FrozenClock, desk: Desk
    ):
        dying = asyncio.Event()

        async def stop(writes: list[str]) -> None:
            if "insert approval" in writes:
                guarded.db.before_commit = stop_next

        async def stop_next(writes: list[str]) -> None:
            dying.set()
            await asyncio.sleep(30)

        guarded.db.before_commit = stop
        guarded.script(calls(("send_mail", {"text": "x"})))
        stream = await guarded.send(await guarded.open(), "send it")
        await asyncio.wait_for(dying.wait(), 5)
        heir = await world_over(db, clock, project=GUARDED)
        clock.advance(100)
        await sweep(heir.services)
        await until(lambda: not heir.services.running)
        assert (await heir.stored(stream.turn_id)).status is TurnStatus.REQUIRES_ACTION
        assert len(await heir.services.approvals.of_turn("default", stream.turn_id)) == 1
        assert desk.seen == []
        await closed(heir)


class TestAttacks:
    @pytest.mark.parametrize(
        ("who", "error"),
        [
            (Principal("default", "eve", frozenset({Role.VIEWER})), NotEntitled),
            (Principal("default", "demo-customer", frozenset({Role.APPROVER})), NotEntitled),
            (Principal("other", "olga", frozenset(Role)), NotFound),
        ],
        ids=["too low a role", "who asked for it", "another tenant"],
    )
    async def test_nobody_else_may_decide(self, guarded: World, desk: Desk, who: Principal, error: type[Exception]):
        _, (approval,) = await asked(guarded, "hello")
        with pytest.raises(error):
            await decided(guarded, approval, by=who)
        assert desk.seen == []

    async def test_of_a_hundred_deciders_one_wins_and_the_call_runs_once(self, guarded: World, desk: Desk):
        desk.acts["send_mail"] = lambda text: {"sent": text}
        turn_id, (approval,) = await asked(guarded, "hello")
        voters = [Principal("default", f"approver {n}", frozenset({Role.APPROVER})) for n in range(100)]
        results = await asyncio.gather(
            *(decided(guarded, approval, by=each) for each in voters), return_exceptions=True
        )
        assert sum(isinstance(each, Approval) for each in results) == 1
        assert sum(isinstance(each, ApprovalConflict) for each in results) == 99
        await ended(guarded, turn_id)
        assert len(desk.seen) == 1

    async def test_a_decision_about_something_else_is_refused(self, guarded: World, desk: Desk):
        _, (approval,) = await asked(guarded, "hello")
        with pytest.raises(ApprovalConflict, match="shown"):
            await decided(guarded, approval, fingerprint="0" * 64)
        assert desk.seen == []

    async def test_a_decision_is_not_used_for_a_call_that_was_changed_in_the_store(
        self, guarded: World, desk: Desk, clock: FrozenClock
    ):
        turn_id, (approval,) = await asked(guarded, "hello")
        message = next(each for each in await guarded.turn_messages(turn_id) if each.tool_calls)
        forged = message.tool_calls[0].arguments.replace("hello", "forged")
        guarded.services.conversations = Forged(guarded.services.conversations, forged)  # pyright: ignore
        await decided(guarded, approval)
        await until(lambda: turn_id not in guarded.services.running)
        assert desk.seen == []

    async def test_a_waiting_turn_that_staff_stop_is_on_record(self, guarded: World):
        turn_id, _ = await asked(guarded, "hello")
        await cancel_turn(guarded.services, Principal("default", "olga", frozenset({Role.OPERATOR})), turn_id)
        bodies = [body for _, body in await guarded.services.audit.store.unsealed(100)]
        (entry,) = [each for each in bodies if "turn.cancelled" in each]
        assert f"turn:{turn_id}" in entry

    async def test_a_cancelled_turn_can_not_be_approved_any_more(self, guarded: World, desk: Desk):
        turn_id, (approval,) = await asked(guarded, "hello")
        await cancel_turn(guarded.services, ANA, turn_id)
        with pytest.raises(ApprovalConflict):
            await decided(guarded, approval)
        await sweep(guarded.services)
        assert (await guarded.stored(turn_id)).status is TurnStatus.CANCELLED
        assert desk.seen == []


class Forged:
    """A store whose transcript was tampered with."""

    def __init__(self, store: Any, arguments: str) -> None:
        self._store = store
        self._arguments = arguments

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def turn_messages(self, tenant_id: str, turn_id: str) -> Any:
        from dataclasses import replace

        return [
            replace(each, tool_calls=tuple(replace(call, arguments=self._arguments) for call in each.tool_calls))
            for each in await self._store.turn_messages(tenant_id, turn_id)
        ]


async def test_what_waits_is_told_to_the_metrics_with_its_age(guarded: World, clock: FrozenClock) -> None:
    def told(name: str) -> float:
        lines = guarded.services.metrics.render().decode().splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name)))

    _, [approval] = await asked(guarded, "hello")
    clock.advance(90)
    await look(guarded.services)
    assert told('approvals_waiting{agent="shop"}') == 1
    assert told("approvals_oldest_seconds") == pytest.approx(90, abs=1)
    await decided(guarded, approval, "reject", reason="no")
    await look(guarded.services)
    assert told('approvals_waiting{agent="shop"}') == 0
    assert told("approvals_oldest_seconds") == 0
