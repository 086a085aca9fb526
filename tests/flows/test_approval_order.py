"""Approvals in the wrong order: an action is done at most once, and only as people approved it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.errors import HandrailError
from handrail.db import Database
from handrail.flows.approval import ApprovalConflict, decide
from handrail.flows.cancel import cancel_turn
from handrail.flows.leases import sweep
from handrail.flows.switches import SwitchWanted, switch_off, switch_on
from handrail.oversight.approvals import ApprovalStatus
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import calls
from tests.flows.desk import Desk
from tests.flows.test_approval import GUARDED, OLGA, OTTO, asked, decided, ended
from tests.flows.world import ANA, World, closed, until, world_over


@pytest.fixture
async def guarded(db: Database, clock: FrozenClock) -> AsyncIterator[World]:
    world = await world_over(db, clock, project=GUARDED)
    yield world
    await closed(world)


async def test_a_decision_that_comes_before_the_turn_is_parked_is_acted_on(guarded: World, desk: Desk):
    decisions: list[asyncio.Task[object]] = []

    async def decide_first(writes: list[str]) -> None:
        pending = await guarded.services.approvals.list_pending("default")
        if "insert message" in writes and pending and not decisions:
            word = decide(guarded.services, OLGA, pending[0].id, "approve", fingerprint=pending[0].fingerprint)
            decisions.append(asyncio.create_task(word))
            await asyncio.wait(decisions)

    guarded.script(calls(("send_mail", {"text": "a"})), "That is settled.")
    guarded.db.before_commit = decide_first
    stream = await guarded.send(await guarded.open(), "send it")
    await stream.wait()
    assert len(decisions) == 1
    await until(lambda: desk.names() == ["send_mail"])
    assert await ended(guarded, stream.turn_id) == "That is settled."


async def test_of_two_questions_the_last_may_be_decided_first(guarded: World, desk: Desk):
    turn_id, (first, second) = await asked(guarded, "one", "two")
    await decided(guarded, second)
    await until(lambda: turn_id not in guarded.services.running)
    assert (await guarded.stored(turn_id)).status is TurnStatus.REQUIRES_ACTION
    assert desk.seen == [("send_mail", {"text": "two"})]
    await decided(guarded, first, "reject", reason="not this one")
    assert await ended(guarded, turn_id) == "That is settled."
    assert desk.seen == [("send_mail", {"text": "two"})]


@pytest.mark.parametrize("round_", range(5))
async def test_a_cancellation_and_an_approval_at_once_leave_one_truth(guarded: World, desk: Desk, round_: int):
    turn_id, (approval,) = await asked(guarded, "hello")

    async def cancel() -> None:
        for _ in range(round_):
            await asyncio.sleep(0)
        with suppress(HandrailError):
            await cancel_turn(guarded.services, ANA, turn_id)

    async def approve() -> None:
        with suppress(HandrailError):
            await decided(guarded, approval)

    await asyncio.gather(cancel(), approve())
    await until(lambda: turn_id not in guarded.services.running)
    turn, after = await guarded.stored(turn_id), await guarded.services.approvals.find("default", approval.id)
    assert turn.status.is_over, turn
    assert after is not None
    if after.status is not ApprovalStatus.APPROVED:
        assert desk.seen == []
    assert len(desk.seen) <= 1
    statuses = await guarded.calls(turn_id)
    assert (len(desk.seen), statuses) in [
        (0, []), (1, [("send_mail", "completed")]), (1, [("send_mail", "unknown")]), (0, [("send_mail", "unknown")]),
    ]  # fmt: skip
    with pytest.raises(ApprovalConflict):
        await decided(guarded, approval, by=OTTO)


async def test_an_approval_given_in_time_holds_although_its_time_is_up_before_it_is_used(
    db: Database, guarded: World, clock: FrozenClock, desk: Desk
):
    turn_id, (approval,) = await asked(guarded, "hello")
    await switch_off(guarded.services, LOCAL_OPERATOR, SwitchWanted("agent", "shop", "a pause"))
    await decided(guarded, approval)
    clock.advance(10 * 3600)
    await sweep(guarded.services)
    assert desk.seen == []
    for each in await guarded.services.switch_store.newest(None, limit=5):
        await switch_on(guarded.services, LOCAL_OPERATOR, each.id, None)
    await sweep(guarded.services)
    assert await ended(guarded, turn_id) == "That is settled."
    assert desk.names() == ["send_mail"]


async def test_what_is_approved_is_not_done_when_its_tool_is_off_by_then(guarded: World, desk: Desk):
    turn_id, (approval,) = await asked(guarded, "hello")
    await switch_off(guarded.services, LOCAL_OPERATOR, SwitchWanted("tool", "send_mail", "it mails twice"))
    await decided(guarded, approval)
    assert await ended(guarded, turn_id) == "That is settled."
    assert desk.seen == []
    assert await guarded.calls(turn_id) == [("send_mail", "failed")]
    assert "it mails twice" in guarded.model.requests[-1].messages[-1].content
