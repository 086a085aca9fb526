"""What is kept no longer is gone with all that hangs on it, and nothing else is."""

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.principal import Principal, Role
from handrail.db import Conflict, Prepared, metadata
from handrail.db.expiry import PAGE as EXPIRY_PAGE
from handrail.flows.background import KeptDays
from handrail.flows.retention import DAY_MICROS, PAGE, forget_page, sweep_runs
from handrail.insight.search import Entry
from handrail.oversight.approvals import Clause, GuardedCall, Requirement, Risk, opened
from handrail.protection.privacy import Token
from handrail.serving.conversations import Conversation, ExportFolder
from tests.flows.world import World

TASK = Task("run-1", "retention", DEPLOYMENT)
DAY = 24 * 3600


async def forget(world: World, **kept: int) -> dict[str, dict[str, int]]:
    """Run the job to its end; its report."""
    world.services.background.kept = KeptDays(**kept)
    state = await forget_page(world.services, TASK, {})
    while not state.get("done"):
        state = await forget_page(world.services, TASK, state)
    report = state["report"]
    for_good = report.get(DEPLOYMENT, {}).pop("kept_for_good", "")
    assert set(for_good.split(", ")) == {"conversations", "escalations", "approvals", "usage", "keys", "switches",
                                         "exports", "facts"} - kept.keys()  # fmt: skip
    return {name: each for name, each in report.items() if each}


async def told(world: World) -> Conversation:
    conversation = await world.open()
    await world.say(conversation, "hello there")
    return conversation


async def count(world: World, name: str) -> int:
    row = await world.db.fetch_one(Prepared(select(func.count().label("n")).select_from(metadata.tables[name])), {})
    return row["n"]


_PARK = Prepared(update(metadata.tables["turn"]).values(status="requires_action"))


async def _turn_of(world: World, conversation: Conversation) -> str:
    turn = metadata.tables["turn"]
    found = Prepared(select(turn.c.id).where(turn.c.conversation_id == conversation.id))
    row = await world.db.fetch_one(found, {})
    return row["id"]


async def _approval(
    world: World, conversation: Conversation, turn_id: str, call_id: str, *, over: bool = False
) -> None:
    clause = Clause("mails", 1, frozenset({Role.APPROVER}))
    requirement = Requirement(Risk.HIGH, (clause,), False, 3600, "a mail")
    call = GuardedCall("default", conversation.id, turn_id, call_id, "shop", "rel_x", "ana", "send_mail", {})
    asked = opened(call, requirement, world.services.clock.micros())
    async with world.db.batch() as batch:
        world.services.approvals.open(batch, asked)
    if over:
        async with world.db.batch() as batch:
            batch.add(_decided(asked.id), {})
            batch.add(_voted(asked.id), {})
            batch.add(_asked(asked.id, turn_id), {})
            batch.add(_seen(asked.id), {})


def _decided(approval_id: str) -> Prepared:
    approval = metadata.tables["approval"]
    decided = {"status": "rejected", "decided_at": approval.c.created_at, "resumed_at": approval.c.created_at}
    return Prepared(update(approval).where(approval.c.id == approval_id).values(decided))


def _voted(approval_id: str) -> Prepared:
    vote = metadata.tables["approval_vote"]
    values = {"id": f"vote_{approval_id}", "tenant_id": "default", "approval_id": approval_id, "voter": "x"}
    rest = {"decision": "reject", "fingerprint": "f", "revision": 1, "capacity": "{}", "created_at": 1}
    return Prepared(insert(vote).values(values | rest))


def _asked(approval_id: str, turn_id: str) -> Prepared:
    key = {"id": f"vote_{approval_id}", "tenant_id": "default", "approval_id": approval_id, "turn_id": turn_id}
    question = {"asked_by": "x", "question": "why?", "asked_at": 1}
    return Prepared(insert(metadata.tables["approval_question"]).values(key | question))


def _seen(approval_id: str) -> Prepared:
    view = {"approval_id": approval_id, "viewer": "x", "tenant_id": "default", "shown_at": 1}
    return Prepared(insert(metadata.tables["approval_view"]).values(view))


async def _fill(world: World, conversation: Conversation, turn_id: str) -> None:
    """A row in every table that refers to a conversation or a turn; one that this does not know fails the test."""
    await _approval(world, conversation, turn_id, "call_1", over=True)
    key = {"tenant_id": "default", "conversation_id": conversation.id, "turn_id": turn_id, "created_at": 1}
    rows = {
        "escalation": {
            "id": "esc_1",
            "agent": "shop",
            "reason": "x",
            "summary": "{}",
            "status": "open",
            "updated_at": 1,
        },
        "tool_call": {
            "id": "call_1",
            "name": "get_order",
            "effect": "read",
            "arguments": "{}",
            "arguments_hash": "x",
            "status": "completed",
        },
    } | _said()
    async with world.db.batch() as batch:
        tokens = [Token("<email_0123456789ab>", "email", "ann@example.com")]
        world.services.privacy.vault.keep(batch, "default", conversation.id, tokens, 1)
        world.services.search.save(batch, [Entry("default", 1, conversation.id, "key", 1, " words ")], at=1)
        for name, row in rows.items():
            batch.add(Prepared(insert(metadata.tables[name]).values(key | row)), {})
    assert await world.services.traces.flush() > 0
    for name in _tables_that_refer_to("conversation", "turn"):
        assert await count(world, name) > 0, f"{name} refers to conversations: add a row here, and delete it in the job"


def _said() -> dict[str, dict[str, Any]]:
    """What people said about it."""
    of = {"agent": "shop", "release_id": "rel_1"}
    word = {"id": "fb_1", "about": "x", "kind": "thumb", "score": 1, "source": "user", "given_by": "x"}
    verdict = {"id": "ver_1", "resolved": 1, "sample": "routine", "inclusion_probability": 1.0, "reviewer": "x"}
    return {
        "feedback": of | word,
        "value_event": of | {"id": "val_1", "name": "kept", "key": "1", "recorded_by": "x"},
        "review_verdict": of | verdict,
    }


def _tables_that_refer_to(*names: str) -> list[str]:
    """Directly, or by a table in between."""
    found = set(names)
    while True:
        more = {
            table.name
            for table in metadata.tables.values()
            if any(key.column.table.name in found for key in table.foreign_keys)
        }
        if more <= found:
            return sorted(found)
        found |= more


class TestConversations:
    async def test_are_kept_for_good_unless_a_deployment_says_otherwise(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        await told(any_world)
        clock.advance(4000 * DAY)
        assert await forget(any_world) == {}
        assert await count(any_world, "conversation") == 1

    async def test_go_with_their_turns_and_messages_when_they_are_old(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        await told(any_world)
        clock.advance(31 * DAY)
        young = await told(any_world)
        assert await forget(any_world, conversations=30) == {"default": {"conversations": 1}}
        assert (await any_world.services.conversations.find("default", young.id)).id == young.id
        assert [await count(any_world, name) for name in ("conversation", "turn")] == [1, 1]
        assert await count(any_world, "message") == 2

    async def test_with_a_turn_that_is_not_over_stay(self, any_world: World, clock: FrozenClock) -> None:
        conversation = await told(any_world)
        async with any_world.db.batch() as batch:
            batch.add(_PARK, {})
        clock.advance(31 * DAY)
        assert await forget(any_world, conversations=30) == {}
        assert (await any_world.services.conversations.find("default", conversation.id)).id == conversation.id

    async def test_in_which_somebody_writes_meanwhile_stay(self, any_world: World, clock: FrozenClock) -> None:
        """Found as old, and then a message comes before it is deleted."""
        conversation = await told(any_world)
        clock.advance(31 * DAY)
        background = any_world.services.background
        before = clock.micros() - 30 * DAY_MICROS
        assert await background.conversations.due(before=before, after="", limit=9) == [("default", conversation.id)]
        await any_world.say(conversation, "still there?")

        async def delete() -> None:
            async with any_world.db.batch() as batch:
                background.conversations.claim(batch, "default", conversation.id, before=before)
                background.conversations.delete(batch, "default", conversation.id)

        with pytest.raises(Conflict):
            await delete()
        assert await count(any_world, "turn") == 2

    async def test_of_more_than_a_page_all_go(self, world: World, clock: FrozenClock) -> None:
        for _ in range(PAGE + 3):
            await world.open()
        clock.advance(2 * DAY)
        assert await forget(world, conversations=1) == {"default": {"conversations": PAGE + 3}}

    async def test_take_along_whatever_refers_to_them(self, any_world: World, clock: FrozenClock) -> None:
        conversation = await told(any_world)
        turn_id = await _turn_of(any_world, conversation)
        await _fill(any_world, conversation, turn_id)
        clock.advance(31 * DAY)
        assert await forget(any_world, conversations=30) == {"default": {"conversations": 1}}
        left = {name: await count(any_world, name) for name in _tables_that_refer_to("conversation", "turn")}
        assert set(left.values()) == {0}, left


class TestApprovals:
    async def test_that_were_decided_long_ago_go_and_those_that_wait_stay(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        conversation = await told(any_world)
        turn_id = await _turn_of(any_world, conversation)
        await _approval(any_world, conversation, turn_id, "call_waits")
        await _approval(any_world, conversation, turn_id, "call_decided", over=True)
        clock.advance(100 * DAY)
        assert await forget(any_world, approvals=90) == {"default": {"approvals": 1}}
        left = await any_world.services.approvals.of_turn("default", turn_id)
        assert [each.call.tool_call_id for each in left] == ["call_waits"]


class TestRows:
    async def test_usage_goes_by_its_own_age(self, any_world: World, clock: FrozenClock) -> None:
        await told(any_world)
        clock.advance(31 * DAY)
        await told(any_world)
        assert await forget(any_world, usage=30) == {"default": {"usage": 1}}
        assert (await count(any_world, "model_usage"), await count(any_world, "conversation")) == (1, 2)

    async def test_of_more_than_a_page_all_go(self, world: World, clock: FrozenClock) -> None:
        await told(world)
        t = metadata.tables["model_usage"]
        (one,) = await world.db.scan(Prepared(select(t)), {})
        async with world.db.batch() as batch:
            for number in range(2 * EXPIRY_PAGE):
                batch.add(Prepared(insert(t)), {**dict(one), "id": f"use_{number}"})
        clock.advance(2 * DAY)
        assert await forget(world, usage=1) == {"default": {"usage": 2 * EXPIRY_PAGE + 1}}

    async def test_keys_that_are_over_go_but_for_the_newest_which_keeps_the_door_closed(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        keys = any_world.services.keys
        for note in ("revoked", "ran out", "alive"):
            expires = clock.micros() + 1 if note == "ran out" else None
            await keys.create(
                tenant_id="default", subject=note, role=Role.OPERATOR, at=clock.micros(), expires_at=expires
            )
        await keys.revoke("default", (await keys.list("default"))[-1].id, at=clock.micros())
        clock.advance(40 * DAY)
        assert await forget(any_world, keys=30) == {"default": {"keys": 2}}
        (alive,) = await keys.list("default")
        await keys.revoke("default", alive.id, at=clock.micros())
        clock.advance(40 * DAY)
        assert await forget(any_world, keys=30) == {}
        assert await keys.exist()

    async def test_a_key_stays_as_long_as_a_session_asks_for_it(self, any_world: World, clock: FrozenClock) -> None:
        """Without its key a session would not know that it was revoked."""
        services, visitor = any_world.services, Principal("default", "op", key_id="key_1")
        async with any_world.db.batch() as batch:
            services.sessions.begin(batch, visitor, at=clock.micros() + 100 * DAY_MICROS)
            for name in ("key_1", "key_2"):
                batch.add(_key(name), {})
        clock.advance(40 * DAY)
        assert await forget(any_world, keys=30) == {}
        clock.advance(100 * DAY)
        assert await forget(any_world, keys=30) == {"default": {"sessions": 1, "keys": 1}}

    async def test_switches_and_delegations_go_when_they_ended_long_ago(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        async with any_world.db.batch() as batch:
            for name, ended in (("off", None), ("on", 1)):
                batch.add(_switched(name, ended), {})
            for name, ends in (("old", 2), ("lasting", clock.micros() + 99 * DAY_MICROS)):
                batch.add(_lent(name, ends), {})
        assert await forget(any_world, switches=1, approvals=1) == {"default": {"switches": 1, "delegations": 1}}
        assert (await count(any_world, "switch"), await count(any_world, "approval_delegation")) == (1, 1)

    async def test_an_export_goes_by_the_time_it_was_written(
        self, world: World, clock: FrozenClock, tmp_path: Path
    ) -> None:
        folder = ExportFolder(tmp_path / "exports")
        world.services.background.exports = folder
        for name, days in (("old", 9), ("young", 1)):
            folder.append(name, 0, [b"{}"])
            folder.finish(name)
            written = clock.micros() / 1_000_000 - days * DAY
            os.utime(folder.path(name), (written, written))
        assert await forget(world, exports=5) == {DEPLOYMENT: {"exports": 1}}
        assert folder.files() == [folder.path("young")]


def _key(name: str) -> Prepared:
    row = {"id": name, "tenant_id": "default", "subject": "op", "role": "operator", "scopes": "[]", "prefix": name}
    return Prepared(insert(metadata.tables["api_key"]).values(row | {"hash": "x", "created_at": 1, "revoked_at": 1}))


def _switched(name: str, released_at: int | None) -> Prepared:
    row = {"id": name, "tenant_id": "default", "kind": "tool", "name": name, "reason": "x", "switched_by": "op"}
    rest = {"stops_running": 0, "created_at": 1, "released_at": released_at}
    return Prepared(insert(metadata.tables["switch"]).values(row | rest))


def _lent(name: str, ends_at: int) -> Prepared:
    row = {"id": name, "tenant_id": "default", "lender": "a", "delegate": "b", "capacity": "{}", "created_at": 1}
    return Prepared(insert(metadata.tables["approval_delegation"]).values(row | {"starts_at": 1, "ends_at": ends_at}))


class TestTraces:
    async def test_go_after_their_days_and_the_conversation_stays(self, any_world: World, clock: FrozenClock) -> None:
        await told(any_world)
        clock.advance(31 * DAY)
        await told(any_world)
        await any_world.services.traces.flush()
        assert await forget(any_world, traces=30) == {"default": {"traces": 1}}
        assert [await count(any_world, name) for name in ("conversation", "trace")] == [2, 1]


class TestRuns:
    async def test_are_swept_with_the_engine_off_too(self, any_world: World, clock: FrozenClock) -> None:
        background = any_world.services.background
        await background.runs.start(TASK)
        await background.runs.end(TASK, report={})
        clock.advance(31 * DAY)
        state = await sweep_runs(any_world.services, TASK, {})
        assert state == {"done": True, "report": {DEPLOYMENT: {"engine_rows": 0}}}
        assert await background.runs.find(TASK.id) is None
