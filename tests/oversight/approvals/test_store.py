import asyncio
from dataclasses import replace
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Role
from handrail.db import Conflict, Database, Prepared
from handrail.oversight.approvals import (
    Approval,
    ApprovalStatus,
    ApprovalStore,
    Ballot,
    Capacity,
    DelegationInvalid,
    Edit,
    GuardedCall,
    NothingToDelegate,
    Recorded,
    Refusal,
    RefusalCode,
    Requirement,
    Voter,
    identical,
    lent,
    vote,
)
from handrail.oversight.approvals.tables import approval_view
from tests.oversight.approvals.cases import (
    ANN,
    APPROVER,
    BOB,
    CALL,
    CARL,
    HOUR,
    ballot,
    person,
    requirement,
    said,
    waiting,
)

OTHERS = replace(CALL, tenant_id="other", conversation_id="conv_2", turn_id="turn_2")


async def _open(
    db: Database, store: ApprovalStore, asked: Requirement | None = None, call: GuardedCall = CALL
) -> Approval:
    opened = waiting(asked, call, await store.now())
    async with db.batch() as batch:
        store.open(batch, opened)
    return opened


async def _say(
    db: Database, store: ApprovalStore, approval: Approval, voter: Voter = ANN, decision: Any = "approve", **more: Any
) -> Recorded:
    """As a flow does it: look, decide, record."""
    seen = await store.look(approval.call.tenant_id, approval.id)
    assert seen is not None
    recorded = said(vote(seen.approval, seen.votes, voter, ballot(seen.approval, decision, **more), seen.at))
    async with db.batch() as batch:
        store.record(batch, recorded)
    return recorded


async def _decide_somehow(db: Database, store: ApprovalStore, shown: Ballot, id: str, voter: Voter) -> str:
    """As a route does it: read again after a conflict, until there is an answer."""
    while True:
        seen = await store.look("acme", id)
        assert seen is not None
        outcome = vote(seen.approval, seen.votes, voter, shown, seen.at)
        if isinstance(outcome, Refusal):
            return outcome.code.value
        try:
            async with db.batch() as batch:
                store.record(batch, outcome)
        except Conflict:
            continue
        return "decided" if outcome.decides else "counted"


class TestOpen:
    async def test_is_read_back_as_it_was(self, db: Database, store: ApprovalStore) -> None:
        asked = requirement(
            replace(APPROVER, escalate_to="leads", teams=frozenset({"finance"})),
            remind_after_seconds=60,
            escalate_after_seconds=120,
        )
        opened = await _open(db, store, asked)

        assert await store.find("acme", opened.id) == opened
        assert await store.find_by_call("acme", "call_1") == opened
        assert await store.of_turn("acme", "turn_1") == [opened]

    async def test_of_a_call_that_waits_already_is_a_conflict(self, db: Database, store: ApprovalStore) -> None:
        await _open(db, store)

        with pytest.raises(Conflict):
            await _open(db, store)

    async def test_counts_its_time_from_the_databases_now(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        late = waiting(at=clock.micros() - 3600 * 1_000_000)
        async with db.batch() as batch:
            store.open(batch, late)

        found = await store.find("acme", late.id)

        assert found is not None
        assert found.expires_at == clock.micros() + 4 * HOUR * 1_000_000


class TestTenants:
    async def test_see_nothing_of_one_another(self, db: Database, store: ApprovalStore) -> None:
        mine = await _open(db, store)
        theirs = await _open(db, store, call=OTHERS)

        assert await store.find("other", mine.id) is None
        assert await store.look("other", mine.id) is None
        assert await store.find_by_call("acme", theirs.call.tool_call_id) == mine
        assert await store.votes("other", mine.id) == []
        assert await store.list_pending("other") == [theirs]
        assert await store.newest("other") == [theirs]
        assert await store.of_turn("other", "turn_1") == []

    async def test_change_nothing_of_one_another(self, db: Database, store: ApprovalStore) -> None:
        mine = await _open(db, store)
        foreign = replace(mine, call=replace(mine.call, tenant_id="other"))
        recorded = said(vote(mine, [], ANN, ballot(mine), await store.now()))

        for change in (
            lambda batch: store.record(batch, replace(recorded, before=foreign)),
            lambda batch: store.escalate(batch, foreign),
            lambda batch: store.mark_reminded(batch, foreign),
            lambda batch: store.mark_resumed(batch, "other", mine.id),
        ):
            with pytest.raises(Conflict):
                async with db.batch() as batch:
                    change(batch)
        async with db.batch() as batch:
            store.withdraw(batch, "other", "turn_1", "cancelled")
            store.expire_conversation(batch, "other", "conv_1", "moved")

        assert await store.find("acme", mine.id) == mine


class TestRecord:
    async def test_notes_the_decision_and_who_made_it(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        opened = await _open(db, store)
        clock.advance(30)

        recorded = await _say(db, store, opened)

        found = await store.find("acme", opened.id)
        assert found == recorded.after
        assert found.status is ApprovalStatus.APPROVED
        assert found.decided_at == clock.micros()
        assert await store.votes("acme", opened.id) == [recorded.vote]

    async def test_of_an_edit_changes_the_call_and_keeps_the_first_one(
        self, db: Database, store: ApprovalStore
    ) -> None:
        two = requirement(replace(APPROVER, votes=2))
        opened = await _open(db, store, two)
        await _say(db, store, opened, ANN)

        edit = Edit({"order_id": "A1", "amount": 120}, two)
        edited = await _say(db, store, opened, BOB, "edit", edit=edit)
        done = await _say(db, store, opened, ANN)

        assert edited.after.status is ApprovalStatus.PENDING
        found = await store.find("acme", opened.id)
        assert found == done.after
        assert (found.call.arguments["amount"], found.original_arguments) == (120, opened.call.arguments)
        assert [(each.decision, each.revision) for each in await store.votes("acme", opened.id)] == [
            ("approve", 0),
            ("edit", 1),
            ("approve", 1),
        ]

    async def test_of_a_question_leaves_it_pending(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)

        asked = await _say(db, store, opened, decision="info", reason="Which invoice?")

        assert await store.find("acme", opened.id) == asked.after
        assert [each.reason for each in await store.votes("acme", opened.id)] == ["Which invoice?"]

    async def test_a_second_decision_on_what_both_saw_is_a_conflict(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)
        first = said(vote(opened, [], ANN, ballot(opened), await store.now()))
        second = said(vote(opened, [], BOB, ballot(opened, "reject"), await store.now()))
        async with db.batch() as batch:
            store.record(batch, first)

        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.record(batch, second)

        assert await store.votes("acme", opened.id) == [first.vote]

    async def test_two_votes_that_did_not_see_each_other_are_not_both_taken(
        self, db: Database, store: ApprovalStore
    ) -> None:
        """Otherwise each would be the first of two, and an approval with all its votes would wait for ever."""
        opened = await _open(db, store, requirement(replace(APPROVER, votes=2)))
        both = [said(vote(opened, [], voter, ballot(opened), await store.now())) for voter in (ANN, BOB)]
        async with db.batch() as batch:
            store.record(batch, both[0])

        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.record(batch, both[1])

    async def test_nobody_is_counted_twice_even_by_a_broken_policy(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store, requirement(replace(APPROVER, votes=3)))
        first = await _say(db, store, opened, ANN)
        unseen = said(vote(first.after, [], ANN, ballot(first.after), await store.now()))

        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.record(batch, unseen)

    async def test_after_time_is_up_by_the_databases_clock_is_a_conflict(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        opened = await _open(db, store)
        in_time = said(vote(opened, [], ANN, ballot(opened), await store.now()))
        clock.advance(4 * HOUR)

        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.record(batch, in_time)

        found = await store.find("acme", opened.id)
        assert found == opened

    async def test_a_forged_vote_never_reaches_the_row(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)
        shown = Ballot("approve", "0" * 64, "trust me")

        assert await _decide_somehow(db, store, shown, opened.id, ANN) == RefusalCode.CHANGED
        assert await store.find("acme", opened.id) == opened
        assert await store.votes("acme", opened.id) == []


class TestRace:
    async def test_of_a_hundred_deciders_one_wins(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)
        people = [person(f"p{number}", Role.APPROVER) for number in range(100)]
        ballots = [ballot(opened, "approve" if number % 2 else "reject") for number in range(100)]

        outcomes = await asyncio.gather(
            *(_decide_somehow(db, store, shown, opened.id, who) for shown, who in zip(ballots, people, strict=True))
        )

        assert sorted(outcomes) == ["already_decided"] * 99 + ["decided"]
        (winner,) = await store.votes("acme", opened.id)
        found = await store.find("acme", opened.id)
        assert found is not None
        assert found.decided_by == winner.voter

    async def test_of_a_hundred_writes_of_one_moment_one_is_taken(self, db: Database, store: ApprovalStore) -> None:
        """Without reading again: what the database alone guarantees."""
        opened = await _open(db, store)
        at = await store.now()

        async def write(number: int) -> bool:
            recorded = said(vote(opened, [], person(f"p{number}", Role.APPROVER), ballot(opened), at))
            try:
                async with db.batch() as batch:
                    store.record(batch, recorded)
            except Conflict:
                return False
            return True

        assert sum(await asyncio.gather(*map(write, range(100)))) == 1
        assert len(await store.votes("acme", opened.id)) == 1

    async def test_of_many_voters_exactly_as_many_count_as_it_takes(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store, requirement(replace(APPROVER, votes=4)))
        people = [person(f"p{number}", Role.APPROVER) for number in range(12)]

        outcomes = await asyncio.gather(*(_decide_somehow(db, store, ballot(opened), opened.id, who) for who in people))

        assert sorted(outcomes) == ["already_decided"] * 8 + ["counted"] * 3 + ["decided"]
        assert len(await store.votes("acme", opened.id)) == 4

    async def test_a_decision_is_used_once(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)
        await _say(db, store, opened)

        async def use() -> bool:
            try:
                async with db.batch() as batch:
                    store.mark_resumed(batch, "acme", opened.id)
            except Conflict:
                return False
            return True

        assert sum(await asyncio.gather(*(use() for _ in range(50)))) == 1


class TestExpiry:
    async def test_comes_at_its_moment_and_not_before(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        opened = await _open(db, store)
        clock.advance(4 * HOUR - 0.000001)
        async with db.batch() as batch:
            store.expire_due(batch)
        assert await store.decided_not_resumed() == []

        clock.advance(0.000001)
        assert await store.list_pending("acme") == []
        async with db.batch() as batch:
            store.expire_due(batch)

        (expired,) = await store.decided_not_resumed()
        assert (expired.id, expired.status, expired.decided_by) == (opened.id, ApprovalStatus.EXPIRED, None)
        assert (expired.decided_at, expired.decision_reason) == (clock.micros(), "nobody decided in time")

    async def test_touches_nothing_that_is_decided(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        opened = await _open(db, store)
        decided = await _say(db, store, opened)
        clock.advance(5 * HOUR)
        async with db.batch() as batch:
            store.expire_due(batch)

        assert await store.find("acme", opened.id) == decided.after

    async def test_comes_at_once_when_the_conversation_moves_to_another_release(
        self, db: Database, store: ApprovalStore
    ) -> None:
        opened = await _open(db, store)
        async with db.batch() as batch:
            store.expire_conversation(batch, "acme", "conv_1", "the conversation moved to release 'rel_2'")

        (expired,) = await store.decided_not_resumed()
        assert (expired.id, expired.decision_reason) == (opened.id, "the conversation moved to release 'rel_2'")
        outcome = await _decide_somehow(db, store, ballot(opened), opened.id, ANN)
        assert outcome == RefusalCode.EXPIRED

    async def test_of_a_turn_that_was_cancelled_resumes_nothing(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)
        async with db.batch() as batch:
            store.withdraw(batch, "acme", "turn_1", "the turn was cancelled")

        assert await store.decided_not_resumed() == []
        found = await store.find("acme", opened.id)
        assert found is not None
        assert found.status is ApprovalStatus.EXPIRED


class TestResume:
    async def test_finds_what_is_decided_until_it_is_marked(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)
        other = await _open(db, store, call=replace(CALL, tool_call_id="call_2"))
        await _open(db, store, call=replace(CALL, tool_call_id="call_3"))
        approved = await _say(db, store, opened)
        rejected = await _say(db, store, other, decision="reject")

        assert {each.id for each in await store.decided_not_resumed()} == {opened.id, other.id}
        async with db.batch() as batch:
            store.mark_resumed(batch, "acme", approved.after.id)

        assert await store.decided_not_resumed() == [rejected.after]

    async def test_of_what_waits_still_is_a_conflict(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)

        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.mark_resumed(batch, "acme", opened.id)


class TestEscalate:
    ASKED = requirement(
        replace(APPROVER, escalate_to="finance"), escalate_after_seconds=HOUR, remind_after_seconds=HOUR // 2
    )

    async def test_is_due_after_its_time_and_done_once(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        opened = await _open(db, store, self.ASKED)
        clock.advance(HOUR - 1)
        assert await store.due_for_escalation() == []

        clock.advance(1)
        (due,) = await store.due_for_escalation()
        async with db.batch() as batch:
            store.escalate(batch, due)

        assert await store.due_for_escalation() == []
        assert (await _say(db, store, opened, CARL)).decides
        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.escalate(batch, due)

    async def test_is_not_due_once_expired(self, db: Database, store: ApprovalStore, clock: FrozenClock) -> None:
        await _open(db, store, self.ASKED)
        clock.advance(4 * HOUR)

        assert await store.due_for_escalation() == []
        assert await store.due_for_reminder() == []

    async def test_reminds_once_before_it(self, db: Database, store: ApprovalStore, clock: FrozenClock) -> None:
        opened = await _open(db, store, self.ASKED)
        on_its_way = said(vote(opened, [], ANN, ballot(opened), await store.now()))
        clock.advance(HOUR // 2)

        (due,) = await store.due_for_reminder()
        async with db.batch() as batch:
            store.mark_reminded(batch, due)
        assert await store.due_for_reminder() == []
        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.mark_reminded(batch, due)

        async with db.batch() as batch:
            store.record(batch, on_its_way)

    async def test_what_named_no_other_team_is_never_due(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        await _open(db, store)
        clock.advance(3 * HOUR)

        assert await store.due_for_escalation() == []
        assert await store.due_for_reminder() == []


class TestLists:
    async def test_show_what_waits_oldest_first_in_pages(self, db: Database, store: ApprovalStore) -> None:
        first, second, third, fourth = [
            await _open(db, store, call=replace(CALL, tool_call_id=f"call_{number}")) for number in range(4)
        ]
        await _say(db, store, second)

        page = await store.list_pending("acme", limit=2)
        rest = await store.list_pending("acme", cursor=page[-1].id, limit=2)

        assert ([*page], [*rest]) == ([first, third], [fourth])

    async def test_show_everything_newest_first_in_pages(self, db: Database, store: ApprovalStore) -> None:
        first, second, third = [
            await _open(db, store, call=replace(CALL, tool_call_id=f"call_{number}")) for number in range(3)
        ]

        page = await store.newest("acme", limit=2)

        assert ([*page], [*await store.newest("acme", before=page[-1].id)]) == ([third, second], [first])


class TestBatch:
    async def test_of_identical_ones_is_decided_each_by_its_own_fingerprint(
        self, db: Database, store: ApprovalStore
    ) -> None:
        several = [await _open(db, store, call=replace(CALL, tool_call_id=f"call_{number}")) for number in range(3)]
        at = await store.now()
        assert all(identical(several[0], each) for each in several)

        async with db.batch() as batch:
            for each in several:
                store.record(batch, said(vote(each, [], ANN, ballot(each), at)))

        assert {each.status for each in await store.of_turn("acme", "turn_1")} == {ApprovalStatus.APPROVED}

    async def test_is_undone_when_one_of_them_was_decided_meanwhile(self, db: Database, store: ApprovalStore) -> None:
        several = [await _open(db, store, call=replace(CALL, tool_call_id=f"call_{number}")) for number in range(2)]
        recorded = [said(vote(each, [], ANN, ballot(each), await store.now())) for each in several]
        await _say(db, store, several[1], BOB, "reject")

        async def decide_all() -> None:
            async with db.batch() as batch:
                for each in recorded:
                    store.record(batch, each)

        with pytest.raises(Conflict):
            await decide_all()

        assert await store.find("acme", several[0].id) == several[0]


class TestSpeeds:
    async def test_are_measured_from_votes(self, db: Database, store: ApprovalStore, clock: FrozenClock) -> None:
        start = clock.micros()
        several = [await _open(db, store, call=replace(CALL, tool_call_id=f"call_{number}")) for number in range(3)]
        clock.advance(60)
        await _say(db, store, several[0], BOB, decision="info")
        await _say(db, store, several[0], ANN)
        clock.advance(2)
        await _say(db, store, several[1], ANN, decision="reject")
        await _open(db, store, call=OTHERS)
        clock.advance(28)
        await _say(db, store, several[2], BOB)

        bob, ann = sorted(await store.speeds("acme", start), key=lambda each: -each.median_seconds)

        assert (bob.voter, bob.decisions, bob.median_seconds, bob.hasty_share) == ("bob", 1, 90.0, 0.0)
        assert (ann.voter, ann.decisions, ann.median_seconds, ann.hasty_share) == ("ann", 2, 31.0, 0.5)
        assert await store.speeds("other", start) == []
        assert await store.speeds("acme", clock.micros() + 1) == []


class TestShown:
    async def test_decisions_are_timed_from_the_first_look_of_whoever_decides(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        opened = await _open(db, store)
        start = clock.micros()
        clock.advance(3600)
        for _ in range(2):
            await store.shown.note("acme", "ann", [opened])
            await store.shown.note("acme", "bob", [])
            clock.advance(20)
        await _say(db, store, opened)

        (ann,) = await store.speeds("acme", start)

        assert (ann.voter, ann.median_seconds) == ("ann", 40.0)

    async def test_two_pages_of_one_person_at_once_note_one_look(self, db: Database, store: ApprovalStore) -> None:
        opened = [await _open(db, store), await _open(db, store, call=replace(CALL, tool_call_id="call_2"))]

        await asyncio.gather(*(store.shown.note("acme", "ann", opened) for _ in range(5)))

        rows = await db.fetch_all(Prepared(approval_view.select()), {})
        assert sorted(row["approval_id"] for row in rows) == sorted(each.id for each in opened)


class TestQuestions:
    async def test_are_answered_once(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)
        asked = await _say(db, store, opened, decision="info", reason="Which invoice?")
        (question,) = await store.questions.of_approval("acme", opened.id)
        assert (question.id, question.question, question.answer) == (asked.vote.id, "Which invoice?", None)
        async with db.batch() as batch:
            store.questions.answer(batch, question, "The second one.")

        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.questions.answer(batch, question, "No, the first.")

        (answered,) = await store.questions.of_turn("acme", opened.call.turn_id)
        assert (answered.answer, answered.body()["answer"]) == ("The second one.", "The second one.")
        assert "ann" not in str(answered.body())
        assert await store.questions.of_turn("other", opened.call.turn_id) == []


class TestDelegations:
    async def test_are_in_force_from_their_start_until_their_end(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        made = lent(ANN.principal, "dora", 2, "holidays", await store.now())
        async with db.batch() as batch:
            store.delegations.add(batch, made)

        assert await store.delegations.find("acme", made.id) == made
        assert await store.delegations.find("other", made.id) is None
        assert [each.on_behalf_of for each in await store.delegations.lent_to("acme", "dora")] == ["ann"]
        assert await store.delegations.lent_to("acme", "ann") == ()
        assert await store.delegations.lent_to("other", "dora") == ()
        clock.advance(2 * 86_400)
        assert await store.delegations.lent_to("acme", "dora") == ()
        assert (await store.delegations.list("acme"))[0].body(await store.now())["status"] == "ended"

    async def test_end_when_they_are_revoked_and_keep_who_did_it_first(
        self, db: Database, store: ApprovalStore, clock: FrozenClock
    ) -> None:
        made = lent(ANN.principal, "dora", 2, None, await store.now())
        async with db.batch() as batch:
            store.delegations.add(batch, made)
        for by in ("ann", "olga"):
            async with db.batch() as batch:
                store.delegations.revoke(batch, "acme", made.id, by)
            clock.advance(1)

        assert await store.delegations.lent_to("acme", "dora") == ()
        found = await store.delegations.find("acme", made.id)
        assert found is not None
        assert (found.revoked_by, found.body(found.created_at)["status"]) == ("ann", "revoked")
        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.delegations.revoke(batch, "other", made.id, "eve")

    @pytest.mark.parametrize(
        ("lender", "to", "days", "said"),
        [
            (ANN, "ann", 1, "somebody else"),
            (ANN, "dora", 0, "more than 0"),
            (ANN, "dora", 91, "at most 90"),
            (ANN, "dora", float("nan"), "at most 90"),
            (person("dora", Role.VIEWER), "eve", 1, "nothing to delegate"),
            (person("dora", Role.VIEWER, lent=(Capacity(frozenset({Role.APPROVER}), frozenset(), "ann"),)), "eve", 1,
             "nothing to delegate"),
        ],
        ids=["to oneself", "for no time", "for too long", "for no number", "of nothing", "of what was lent"],
    )  # fmt: skip
    def test_that_make_no_sense_are_refused(self, lender: Voter, to: str, days: float, said: str) -> None:
        with pytest.raises((DelegationInvalid, NothingToDelegate), match=said):
            lent(lender.principal, to, days, None, 0)


class TestBody:
    async def test_is_what_the_api_shows(self, db: Database, store: ApprovalStore) -> None:
        opened = await _open(db, store)
        decided = await _say(db, store, opened, decision="reject", reason="too much")

        body = decided.after.body(await store.now())

        assert body["object"] == "approval"
        assert (body["status"], body["decided_by"], body["decision_reason"]) == ("rejected", "ann", "too much")
        assert (body["tool"], body["arguments"], body["requester"]) == ("refund_order", CALL.arguments, "rita")
        assert body["expires_at"] == "2026-01-01T04:00:00.000Z"
        assert decided.vote.body()["decision"] == "reject"
