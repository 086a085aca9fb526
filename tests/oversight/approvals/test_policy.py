from dataclasses import replace
from typing import Any

import pytest

from handrail.core.principal import Role
from handrail.oversight.approvals import (
    Approval,
    ApprovalStatus,
    Capacity,
    Clause,
    Edit,
    Recorded,
    Refusal,
    RefusalCode,
    Risk,
    Voter,
    difference,
    escalation_teams,
    fingerprint,
    hindrance,
    identical,
    missing,
    permit,
    required,
    strictest,
    vote,
)
from handrail.oversight.approvals.policy import NO_RULE_ASKS, escalated
from tests.oversight.approvals.cases import (
    ANN,
    APPROVER,
    BOB,
    CALL,
    CARL,
    DORA,
    HOUR,
    NOW,
    RITA,
    STRANGER,
    after,
    ballot,
    facts,
    person,
    requirement,
    rules,
    said,
    votes_needed,
    waiting,
)

FINANCE = Clause("huge-refund", 1, frozenset(), frozenset({"finance"}))


def _code(outcome: object) -> RefusalCode:
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def _vote(approval: Approval, voter: Voter = ANN, decision: Any = "approve", **more: Any) -> Recorded | Refusal:
    return vote(approval, [], voter, ballot(approval, decision, **more), NOW)


class TestRequired:
    def test_nothing_when_no_rule_matches(self) -> None:
        assert required(rules("approvals:\n  - {name: a, when: args.amount > 100}"), facts(amount=100)) is None

    def test_the_rule_when_one_matches(self) -> None:
        text = "approvals:\n  - {name: a, when: args.amount > 100, risk: high, votes: 2, approvers: {teams: [finance]}}"

        asked = required(rules(text), facts(amount=101))

        assert asked is not None
        assert asked.clauses == (Clause("a", 2, frozenset(), frozenset({"finance"})),)
        assert (asked.risk, asked.votes_needed, asked.expires_after_seconds) == (Risk.HIGH, 2, 4 * HOUR)

    def test_the_strictest_of_every_part_when_several_match(self) -> None:
        text = """
approvals:
  - {name: a, when: "true", risk: critical, expires_after: 3h, requester_may_approve: true, remind_after: 1h, reason: A}
  - {name: b, when: "true", risk: low, votes: 3, approvers: {teams: [finance]}, reason: B, expires_after: 2h,
     escalate_after: 30m, escalate_to: leads}
"""
        asked = required(rules(text), facts())

        assert asked is not None
        assert (asked.risk, asked.votes_needed, asked.expires_after_seconds) == (Risk.CRITICAL, 3, 2 * HOUR)
        assert (asked.requester_may_approve, asked.rules, asked.reason) == (False, ("a", "b"), "A\nB")
        assert (asked.remind_after_seconds, asked.escalate_after_seconds) == (HOUR, HOUR // 2)

    def test_the_highest_risk_of_a_call_that_a_rule_can_t_judge(self) -> None:
        text = "approvals:\n  - {name: a, when: args.missing > 100, risk: low, expires_after: 72h}"

        asked = required(rules(text), facts(amount=1))

        assert asked is not None
        assert (asked.risk, asked.expires_after_seconds) == (Risk.CRITICAL, HOUR)


class TestStrictest:
    def test_keeps_what_either_release_asks_for(self) -> None:
        pinned, stable = requirement(APPROVER), requirement(FINANCE, risk=Risk.CRITICAL)

        both = strictest(pinned, stable)

        assert both is not None
        assert (both.clauses, both.risk) == ((APPROVER, FINANCE), Risk.CRITICAL)
        assert strictest(None, stable) == strictest(stable, None) == stable
        assert strictest(None, None) is None

    def test_asks_once_for_what_both_releases_say(self) -> None:
        assert strictest(requirement(), requirement()) == requirement()


class TestFingerprint:
    @pytest.mark.parametrize(
        "change",
        [
            {"tenant_id": "other"},
            {"conversation_id": "conv_2"},
            {"tool_call_id": "call_2"},
            {"tool": "cancel_order"},
            {"arguments": {"order_id": "A1", "amount": 151}},
            {"arguments": {"order_id": "A1", "amount": "150"}},
            {"release_id": "rel_2"},
            {"requester": "eve"},
        ],
    )
    def test_is_another_one_for_any_other_call(self, change: dict[str, Any]) -> None:
        assert fingerprint(replace(CALL, **change), "appr_1") != fingerprint(CALL, "appr_1")

    def test_is_another_one_for_another_approval(self) -> None:
        assert fingerprint(CALL, "appr_1") != fingerprint(CALL, "appr_2")

    def test_does_not_depend_on_the_order_of_arguments(self) -> None:
        turned = replace(CALL, arguments={"amount": 150, "order_id": "A1"})

        assert fingerprint(turned, "appr_1") == fingerprint(CALL, "appr_1")


class TestWho:
    @pytest.mark.parametrize(
        ("voter", "code"),
        [
            (STRANGER, RefusalCode.NOT_FOUND),
            (DORA, RefusalCode.NOT_ENTITLED),
            (person("eve", Role.END_USER), RefusalCode.NOT_ENTITLED),
            (person("eve", Role.ADMIN, Role.OPERATOR), RefusalCode.NOT_ENTITLED),
            (CARL, RefusalCode.NOT_ENTITLED),
            (person("eve"), RefusalCode.NOT_ENTITLED),
            (RITA, RefusalCode.IS_REQUESTER),
        ],
    )
    @pytest.mark.parametrize("decision", ["approve", "reject", "edit", "info"])
    def test_may_not_decide(self, voter: Voter, code: RefusalCode, decision: str) -> None:
        edit = Edit({"amount": 1}, None) if decision == "edit" else None

        assert _code(_vote(waiting(), voter, decision, edit=edit)) is code

    def test_may_by_role_or_by_team(self) -> None:
        assert said(_vote(waiting(), ANN)).decides
        assert said(_vote(waiting(requirement(FINANCE)), CARL)).decides

    def test_may_approve_the_own_request_only_when_every_rule_says_so(self) -> None:
        lenient, strict = requirement(requester_may_approve=True), requirement(FINANCE)

        assert said(_vote(waiting(lenient), RITA)).decides
        assert _code(_vote(waiting(strictest(lenient, strict)), RITA)) is RefusalCode.IS_REQUESTER

    def test_a_wrong_role_is_told_who_is_needed(self) -> None:
        outcome = _vote(waiting(requirement(APPROVER, FINANCE)), DORA)

        assert isinstance(outcome, Refusal)
        assert outcome.message.endswith("it needs role 'approver' or team 'finance'")


class TestWhen:
    def test_until_the_moment_it_expires(self) -> None:
        approval = waiting()
        ticket = ballot(approval)

        assert said(vote(approval, [], ANN, ticket, approval.expires_at - 1)).decides
        assert _code(vote(approval, [], ANN, ticket, approval.expires_at)) is RefusalCode.EXPIRED

    def test_expired_by_the_clock_is_expired_whatever_the_row_says(self) -> None:
        approval = waiting()

        assert approval.status is ApprovalStatus.PENDING
        assert approval.status_at(approval.expires_at) is ApprovalStatus.EXPIRED
        assert approval.body(approval.expires_at)["status"] == "expired"
        assert approval.status_at(approval.expires_at - 1) is ApprovalStatus.PENDING

    def test_an_approved_one_does_not_expire(self) -> None:
        approval, _ = after(waiting(), ANN)

        assert approval.status_at(approval.expires_at + 1) is ApprovalStatus.APPROVED

    @pytest.mark.parametrize("first", ["approve", "reject"])
    @pytest.mark.parametrize("second", ["approve", "reject", "info"])
    def test_a_second_decision_hears_of_the_first(self, first: str, second: str) -> None:
        decided, votes = after(waiting(), ANN, decision=first)

        outcome = vote(decided, votes, BOB, ballot(decided, second), NOW)

        assert _code(outcome) is RefusalCode.ALREADY_DECIDED
        assert isinstance(outcome, Refusal)
        assert f"was {first}" in outcome.message
        assert "by 'ann'" in outcome.message


class TestWhat:
    def test_a_forged_fingerprint_is_refused(self) -> None:
        approval = waiting()

        assert (
            _code(vote(approval, [], ANN, replace(ballot(approval), fingerprint="0" * 64), NOW)) is RefusalCode.CHANGED
        )

    def test_the_fingerprint_of_another_place_in_the_batch_is_refused(self) -> None:
        mine, other = waiting(), waiting()

        assert identical(mine, other)
        assert _code(vote(mine, [], ANN, ballot(other), NOW)) is RefusalCode.CHANGED

    def test_a_row_that_was_changed_under_its_fingerprint_is_refused(self) -> None:
        approval = waiting()
        tampered = replace(approval, call=replace(CALL, arguments={"order_id": "A1", "amount": 9_999}))

        assert _code(_vote(tampered)) is RefusalCode.CHANGED

    @pytest.mark.parametrize("reason", [None, "", "  "])
    @pytest.mark.parametrize("decision", ["reject", "info"])
    def test_a_no_and_a_question_need_words(self, decision: str, reason: str | None) -> None:
        assert _code(_vote(waiting(), decision=decision, reason=reason)) is RefusalCode.REASON_MISSING

    @pytest.mark.parametrize(("risk", "needed"), [(Risk.HIGH, False), (Risk.CRITICAL, True)])
    def test_a_yes_needs_words_when_it_is_critical(self, risk: Risk, needed: bool) -> None:
        outcome = _vote(waiting(requirement(risk=risk)), reason=None)

        assert isinstance(outcome, Refusal) is needed


class TestApprove:
    def test_by_one_decides_when_one_is_enough(self) -> None:
        recorded = said(_vote(waiting()))

        assert recorded.after.status is ApprovalStatus.APPROVED
        assert (recorded.after.decided_by, recorded.after.decision_reason) == ("ann", "looked at it")
        assert recorded.after.version == recorded.before.version + 1

    def test_of_two_needs_two_different_people(self) -> None:
        first, votes = after(votes_needed(2), ANN)

        assert first.status is ApprovalStatus.PENDING
        assert _code(vote(first, votes, ANN, ballot(first), NOW)) is RefusalCode.ALREADY_VOTED
        assert said(vote(first, votes, BOB, ballot(first), NOW)).after.status is ApprovalStatus.APPROVED

    @pytest.mark.parametrize("needed", [1, 2, 3, 10])
    def test_is_decided_by_the_last_of_k(self, needed: int) -> None:
        people = [person(f"p{number}", Role.APPROVER) for number in range(needed)]

        before, _ = after(votes_needed(needed), *people[:-1])
        done, _ = after(votes_needed(needed), *people)

        assert (before.status, done.status) == (ApprovalStatus.PENDING, ApprovalStatus.APPROVED)
        assert done.decided_by == people[-1].principal.subject

    def test_meets_every_rule_by_its_own_people(self) -> None:
        asked = requirement(replace(APPROVER, votes=2), FINANCE)

        approvers_only, votes = after(waiting(asked), ANN, BOB)

        assert approvers_only.status is ApprovalStatus.PENDING
        assert missing(approvers_only, votes) == ((FINANCE, 1),)
        assert said(vote(approvers_only, votes, CARL, ballot(approvers_only), NOW)).decides

    def test_of_somebody_who_fits_two_rules_counts_for_both(self) -> None:
        both = person("fay", Role.APPROVER, teams=frozenset({"finance"}))

        assert said(_vote(waiting(requirement(APPROVER, FINANCE)), both)).decides


class TestReject:
    def test_by_one_rejects_whatever_others_said(self) -> None:
        first, votes = after(votes_needed(3), ANN, BOB)

        recorded = said(vote(first, votes, person("cleo", Role.APPROVER), ballot(first, "reject", "not ours"), NOW))

        assert recorded.after.status is ApprovalStatus.REJECTED
        assert (recorded.after.decided_by, recorded.after.decision_reason) == ("cleo", "not ours")

    def test_is_still_open_to_whoever_said_yes_before(self) -> None:
        first, votes = after(votes_needed(2), ANN)

        assert said(vote(first, votes, ANN, ballot(first, "reject"), NOW)).after.status is ApprovalStatus.REJECTED


class TestInfo:
    def test_changes_no_status_and_counts_as_no_vote(self) -> None:
        asked, votes = after(waiting(), ANN, ANN, decision="info")

        assert asked.status is ApprovalStatus.PENDING
        assert [each.decision for each in votes] == ["info", "info"]
        assert said(vote(asked, votes, ANN, ballot(asked), NOW)).decides


class TestEdit:
    SMALLER = {"order_id": "A1", "amount": 120}

    def _edit(self, approval: Approval, votes: Any = (), voter: Voter = BOB, **changes: Any) -> Recorded | Refusal:
        asked = changes.pop("requirement", requirement(replace(APPROVER, votes=2)))
        edit = Edit(changes.pop("arguments", self.SMALLER), asked)
        return vote(approval, list(votes), voter, ballot(approval, "edit", edit=edit, **changes), NOW)

    def test_voids_earlier_votes_and_counts_as_the_editors(self) -> None:
        first, votes = after(votes_needed(2), ANN)

        edited = said(self._edit(first, votes))
        votes = [*votes, edited.vote]

        assert edited.after.status is ApprovalStatus.PENDING
        assert edited.after.fingerprint not in {first.fingerprint, edited.before.fingerprint}
        assert missing(edited.after, votes)[0][1] == 1
        assert _code(vote(edited.after, votes, BOB, ballot(edited.after), NOW)) is RefusalCode.ALREADY_VOTED
        assert said(vote(edited.after, votes, ANN, ballot(edited.after), NOW)).after.status is ApprovalStatus.APPROVED

    def test_is_enough_when_the_rules_want_one_vote_or_none(self) -> None:
        assert said(self._edit(waiting(), requirement=requirement())).decides
        assert said(self._edit(waiting(), requirement=None)).decides

    def test_that_leaves_every_rule_keeps_no_reason_of_the_old_arguments(self) -> None:
        edited = said(self._edit(replace(waiting(), reason="250 is more than 100"), requirement=None))
        assert edited.after.reason == NO_RULE_ASKS

    def test_under_rules_of_other_people_is_not_enough(self) -> None:
        edited = said(self._edit(waiting(), requirement=requirement(FINANCE)))

        assert edited.after.status is ApprovalStatus.PENDING
        assert missing(edited.after, [edited.vote]) == ((FINANCE, 1),)

    def test_back_to_the_first_arguments_does_not_bring_old_votes_back(self) -> None:
        first, votes = after(votes_needed(3), ANN)
        there = said(self._edit(first, votes, requirement=requirement(replace(APPROVER, votes=3))))
        votes = [*votes, there.vote]

        three = requirement(replace(APPROVER, votes=3))
        back = said(self._edit(there.after, votes, arguments=CALL.arguments, requirement=three))
        votes = [*votes, back.vote]

        assert back.after.fingerprint == first.fingerprint
        assert missing(back.after, votes)[0][1] == 2
        assert said(vote(back.after, votes, ANN, ballot(back.after), NOW)).after.status is ApprovalStatus.PENDING

    def test_keeps_the_first_arguments_and_the_difference(self) -> None:
        once = said(self._edit(waiting()))
        twice = said(self._edit(once.after, [once.vote], arguments={"order_id": "A1", "amount": 110, "note": "ok"}))

        assert twice.after.original_arguments == CALL.arguments
        assert once.vote.diff == {"amount": {"before": 150, "after": 120}}
        assert twice.vote.diff == {"amount": {"before": 120, "after": 110}, "note": {"after": "ok"}}

    def test_never_gives_more_time(self) -> None:
        approval = waiting(requirement(expires_after_seconds=HOUR))

        longer = said(self._edit(approval, requirement=requirement(expires_after_seconds=9 * HOUR)))
        shorter = said(self._edit(approval, requirement=requirement(expires_after_seconds=60)))

        assert longer.after.expires_at == approval.expires_at
        assert shorter.after.expires_at == NOW + 60_000_000

    def test_makes_earlier_ballots_worthless(self) -> None:
        approval = waiting()
        seen_before = ballot(approval)
        edited = said(self._edit(approval))

        assert _code(vote(edited.after, [edited.vote], ANN, seen_before, NOW)) is RefusalCode.CHANGED

    def test_that_changes_nothing_is_no_edit(self) -> None:
        same = {"amount": 150, "order_id": "A1"}

        assert _code(self._edit(waiting(), arguments=same)) is RefusalCode.UNCHANGED
        assert _code(_vote(waiting(), decision="edit")) is RefusalCode.UNCHANGED

    def test_to_something_critical_needs_words(self) -> None:
        critical = requirement(risk=Risk.CRITICAL)

        assert _code(self._edit(waiting(), requirement=critical, reason=None)) is RefusalCode.REASON_MISSING
        assert _code(self._edit(waiting(critical), requirement=None, reason=None)) is RefusalCode.REASON_MISSING

    def test_after_an_escalation_the_other_team_may_still_decide(self) -> None:
        clause = replace(APPROVER, votes=2, escalate_to="finance")
        widened = replace(escalated(waiting(requirement(clause))), escalated_at=NOW)

        edited = said(self._edit(widened, requirement=requirement(clause)))

        assert said(vote(edited.after, [edited.vote], CARL, ballot(edited.after), NOW)).decides


ANNS = Capacity(frozenset({Role.APPROVER}), frozenset(), "ann")


class TestLent:
    """A delegate votes as the lender would, and it is the lender's one vote."""

    def test_votes_in_the_lenders_place_and_says_so(self) -> None:
        recorded = said(_vote(waiting(), person("dora", Role.VIEWER, lent=(ANNS,))))

        assert recorded.after.status is ApprovalStatus.APPROVED
        assert (recorded.vote.voter, recorded.vote.capacity.on_behalf_of) == ("dora", "ann")

    def test_goes_after_the_own_capacity(self) -> None:
        assert said(_vote(waiting(), person("bob", Role.APPROVER, lent=(ANNS,)))).vote.capacity.on_behalf_of is None

    def test_does_not_make_two_votes_of_one(self) -> None:
        dora, eve = (person(name, Role.VIEWER, lent=(ANNS,)) for name in ("dora", "eve"))
        first, votes = after(votes_needed(2), dora)

        assert _code(vote(first, votes, ANN, ballot(first), NOW)) is RefusalCode.ALREADY_VOTED
        assert _code(vote(first, votes, eve, ballot(first), NOW)) is RefusalCode.ALREADY_VOTED
        assert said(vote(first, votes, BOB, ballot(first), NOW)).decides

        second, votes = after(votes_needed(2), ANN)
        assert _code(vote(second, votes, dora, ballot(second), NOW)) is RefusalCode.ALREADY_VOTED

    def test_gives_nobody_the_lenders_vote_and_their_own(self) -> None:
        bob = person("bob", Role.APPROVER, lent=(ANNS,))
        first, votes = after(votes_needed(2), bob)

        assert _code(vote(first, votes, bob, ballot(first), NOW)) is RefusalCode.ALREADY_VOTED

    def test_does_not_give_one_person_the_votes_of_two_lenders(self) -> None:
        bobs = replace(ANNS, on_behalf_of="bob")
        first, votes = after(votes_needed(2), person("dora", Role.VIEWER, lent=(ANNS,)))

        later = person("dora", Role.VIEWER, lent=(bobs,))
        assert _code(vote(first, votes, later, ballot(first), NOW)) is RefusalCode.ALREADY_VOTED

    def test_never_lets_the_requester_decide_nor_choose_who_does(self) -> None:
        ritas = Capacity(frozenset({Role.APPROVER}), frozenset(), "rita")

        assert _code(_vote(waiting(), person("rita", Role.VIEWER, lent=(ANNS,)))) is RefusalCode.IS_REQUESTER
        assert _code(_vote(waiting(), person("dora", Role.VIEWER, lent=(ritas,)))) is RefusalCode.NOT_ENTITLED
        own = waiting(requirement(requester_may_approve=True))
        assert said(_vote(own, person("dora", Role.VIEWER, lent=(ritas,)))).decides

    def test_of_the_wrong_people_is_worth_nothing(self) -> None:
        viewers = Capacity(frozenset({Role.VIEWER}), frozenset({"sales"}), "carl")

        assert _code(_vote(waiting(), person("dora", Role.VIEWER, lent=(viewers,)))) is RefusalCode.NOT_ENTITLED


class TestHindrance:
    def test_says_beforehand_what_a_vote_would_be_told(self) -> None:
        first, votes = after(votes_needed(2), ANN)

        assert hindrance(first, votes, BOB, NOW) is None
        assert "approved this already" in (hindrance(first, votes, ANN, NOW) or "")
        assert "may not decide" in (hindrance(first, votes, DORA, NOW) or "")
        assert "asked for this" in (hindrance(first, votes, RITA, NOW) or "")


class TestPermit:
    def test_lets_the_approved_call_through(self) -> None:
        approved, _ = after(waiting(), ANN)

        assert permit(approved, CALL) is None

    @pytest.mark.parametrize(
        "change",
        [{"arguments": {"order_id": "A1", "amount": 151}}, {"release_id": "rel_2"}, {"tool_call_id": "call_2"}],
    )
    def test_stops_every_other_call(self, change: dict[str, Any]) -> None:
        approved, _ = after(waiting(), ANN)

        assert _code(permit(approved, replace(CALL, **change))) is RefusalCode.CHANGED

    @pytest.mark.parametrize("status", [each for each in ApprovalStatus if each is not ApprovalStatus.APPROVED])
    def test_stops_what_is_not_approved(self, status: ApprovalStatus) -> None:
        assert _code(permit(replace(waiting(), status=status), CALL)) is RefusalCode.NOT_APPROVED

    def test_after_an_edit_is_for_the_edited_call_alone(self) -> None:
        edit = Edit({"order_id": "A1", "amount": 90}, None)
        approved = said(_vote(waiting(), BOB, "edit", edit=edit)).after

        assert permit(approved, approved.call) is None
        assert _code(permit(approved, CALL)) is RefusalCode.CHANGED


class TestEscalated:
    def test_lets_the_rules_other_team_decide_too(self) -> None:
        approval = waiting(requirement(replace(APPROVER, escalate_to="finance")))

        assert _code(_vote(approval, CARL)) is RefusalCode.NOT_ENTITLED
        assert said(_vote(escalated(approval), CARL)).decides
        assert said(_vote(escalated(approval), ANN)).decides
        assert escalation_teams(approval) == ("finance",)

    def test_widens_no_rule_that_named_no_team(self) -> None:
        approval = waiting(requirement(replace(APPROVER, escalate_to="leads"), FINANCE))

        assert escalated(approval).approvers.clauses[1] == FINANCE


class TestIdentical:
    def test_is_the_same_action_asked_for_again(self) -> None:
        again = replace(CALL, tool_call_id="call_2", conversation_id="conv_2", turn_id="turn_2")

        assert identical(waiting(), waiting(call=again, at=NOW + 1))

    @pytest.mark.parametrize(
        "change",
        [
            {"arguments": {"order_id": "A2", "amount": 150}},
            {"requester": "eve"},
            {"tool": "cancel_order"},
            {"release_id": "rel_2"},
            {"tenant_id": "other"},
            {"agent": "bank"},
        ],
    )
    def test_is_no_other_action(self, change: dict[str, Any]) -> None:
        assert not identical(waiting(), waiting(call=replace(CALL, **change)))

    def test_is_under_the_same_rules(self) -> None:
        assert not identical(waiting(), votes_needed(2))
        assert not identical(waiting(), waiting(requirement(risk=Risk.CRITICAL)))


def test_difference_tells_one_from_one_point_nought_and_nothing_from_null() -> None:
    assert difference({"a": 1, "b": 2}, {"a": 1.0, "b": 2, "c": None}) == {
        "a": {"before": 1, "after": 1.0},
        "c": {"after": None},
    }
