"""The definitions, one by one."""

from dataclasses import replace

import pytest

from handrail.insight.scorecard import (
    CallRecord,
    ConversationFact,
    FeedbackRecord,
    Transcript,
    TurnRecord,
    UsageRecord,
    closed_without_words,
    fact_of,
    intent_of,
)
from handrail.insight.scorecard.facts import escalation_reason, latency_of
from handrail.protection.guardrails.output import GROUNDING

SECOND = 1_000_000
HOUR = 3600 * SECOND
START = 1_000 * HOUR
ANSWERED = TurnRecord("t1", "completed", "rel_1", START, START, START + SECOND, "refund", "execute", "simple")
ASKED = replace(ANSWERED, id="t2", is_waiting=True)
CLARIFIED = replace(ANSWERED, id="t3", action="clarify", intent=None, is_waiting=True)
FAILED = replace(ANSWERED, id="t4", status="failed", error_code="internal")
HANDED_OFF = replace(ANSWERED, id="t5", is_escalated=True)
STOPPED = replace(ANSWERED, id="t6", status="cancelled")
PARKED = replace(ANSWERED, id="t7", status="requires_action", approvals=1)
RUNNING = replace(ANSWERED, id="t8", status="running", ended_at=None, usage=[UsageRecord(1, 1, 1)])


def told(*turns: TurnRecord, **more: object) -> Transcript:
    known = Transcript("conv_1", "default", "ana", "shop", "rel_1", "api", START, turns)
    return replace(known, **more)  # pyright: ignore[reportArgumentType]


def judged(transcript: Transcript, *, hours: float = 100, next_hours: float | None = None) -> ConversationFact:
    """As it is so many hours after its beginning; the next conversation of its line begins `next_hours` after it."""
    next_at = None if next_hours is None else START + int(next_hours * HOUR)
    fact = fact_of(transcript, window_micros=24 * HOUR, next_at=next_at, now=START + int(hours * HOUR))
    assert fact is not None
    return fact


class TestCompleted:
    def test_is_what_ends_with_an_answer(self) -> None:
        assert judged(told(ASKED, ANSWERED)).is_completed

    @pytest.mark.parametrize(
        "last", [ASKED, CLARIFIED, FAILED, HANDED_OFF, PARKED, replace(ANSWERED, action="refuse")], ids=lambda t: t.id
    )
    def test_is_not_what_ends_otherwise(self, last: TurnRecord) -> None:
        assert not judged(told(ANSWERED, last)).is_completed

    def test_does_not_look_at_turns_that_were_stopped(self) -> None:
        assert judged(told(ANSWERED, STOPPED)).is_completed
        assert not judged(told(STOPPED)).is_completed

    def test_goes_on_from_the_last_turn_that_has_ended(self) -> None:
        assert judged(told(ANSWERED, RUNNING)).is_completed


class TestResolved:
    def test_is_what_is_completed_and_left_alone(self) -> None:
        assert judged(told(ANSWERED)).is_resolved

    def test_is_not_what_went_to_people_before(self) -> None:
        fact = judged(told(HANDED_OFF, ANSWERED))
        assert fact.is_completed
        assert not fact.is_resolved
        assert fact.is_escalated

    def test_is_not_what_the_user_came_back_for_within_the_window(self) -> None:
        assert not judged(told(ANSWERED), next_hours=24).is_resolved
        assert judged(told(ANSWERED), next_hours=25).is_resolved

    def test_the_users_word_comes_before_what_we_see(self) -> None:
        no, yes = (FeedbackRecord("resolved", score, 1) for score in (0, 1))
        assert not judged(told(ANSWERED, feedback=[no])).is_resolved
        assert judged(told(FAILED, feedback=[no, yes])).is_resolved

    def test_a_reviewers_word_comes_before_the_users(self) -> None:
        fact = judged(told(ANSWERED, feedback=[FeedbackRecord("resolved", 1, 1)], verdicts=[True, False]))
        assert fact.said_resolved is False
        assert not fact.is_resolved

    def test_staffs_word_comes_before_the_users_and_after_a_reviewers(self) -> None:
        said = [FeedbackRecord("resolved", 0, 1, is_users=False), FeedbackRecord("resolved", 1, 2)]
        assert judged(told(ANSWERED, feedback=said)).said_resolved is False
        assert judged(told(ANSWERED, feedback=said, verdicts=[True])).said_resolved is True


class TestClosed:
    def test_is_what_has_seen_its_window_end(self) -> None:
        assert not judged(told(ANSWERED), hours=24).is_closed
        fact = judged(told(ANSWERED), hours=24.1)
        assert fact.is_closed
        assert fact.closes_at == START + SECOND + 24 * HOUR

    @pytest.mark.parametrize("turn", [RUNNING, PARKED, replace(RUNNING, status="queued")], ids=lambda t: t.status)
    def test_is_nothing_that_still_goes_on(self, turn: TurnRecord) -> None:
        fact = judged(told(ANSWERED, turn))
        assert not fact.is_closed
        assert fact.closes_at is None

    def test_comes_without_the_words_too_once_they_are_deleted(self) -> None:
        fact = judged(told(ANSWERED), hours=1)
        assert not closed_without_words(fact, START + 24 * HOUR).is_closed
        assert closed_without_words(fact, START + 25 * HOUR) == replace(fact, is_closed=True)


class TestIntent:
    def test_is_that_of_the_first_turn_that_acted(self) -> None:
        guessed = replace(CLARIFIED, intent="hours")
        assert intent_of(told(guessed, ANSWERED, replace(ANSWERED, intent="other"))) == "refund"

    def test_is_the_first_that_was_thought_of_when_none_acted(self) -> None:
        assert intent_of(told(CLARIFIED, replace(CLARIFIED, intent="hours"))) == "hours"

    def test_may_be_none(self) -> None:
        assert intent_of(told(CLARIFIED)) == ""


class TestFact:
    def test_is_none_before_the_first_turn_has_ended(self) -> None:
        assert fact_of(told(RUNNING), window_micros=HOUR, next_at=None, now=START) is None

    def test_leaves_out_what_a_running_turn_has_used_so_far(self) -> None:
        assert judged(told(ANSWERED, RUNNING)).model_calls == 0

    def test_sums_up_what_is_known_and_says_what_is_not(self) -> None:
        turn = replace(ANSWERED, usage=[UsageRecord(10, 5, 7), UsageRecord(None, None, None)])
        fact = judged(told(turn, values=[3, 4]))
        assert (fact.model_calls, fact.input_tokens, fact.cost_micros, fact.unpriced_calls) == (2, 10, 7, 1)
        assert fact.value_micros == 7

    def test_counts_turns_that_claim_what_the_agent_was_not_given(self) -> None:
        claims = replace(ANSWERED, tripped=(GROUNDING, "links"))
        by_a_tool = replace(ANSWERED, calls=[CallRecord("read", "completed", tripped=("injection",))])
        assert judged(told(claims, ANSWERED, by_a_tool)).unsupported_turns == 1

    def test_takes_the_last_rating_and_all_thumbs(self) -> None:
        given = [("csat", 1), ("thumb", 1), ("nps", 9), ("csat", 4), ("thumb", -1), ("thumb", -1)]
        fact = judged(told(ANSWERED, feedback=[FeedbackRecord(kind, score, 1) for kind, score in given]))
        assert (fact.csat, fact.nps, fact.thumbs_up, fact.thumbs_down) == (4, 9, 1, 2)

    def test_ratings_of_staff_are_none_of_the_users(self) -> None:
        given = [("csat", 1), ("nps", 2), ("thumb", 1), ("thumb", -1)]
        by_staff = [FeedbackRecord(kind, score, 1, is_users=False) for kind, score in given]
        fact = judged(told(ANSWERED, feedback=[FeedbackRecord("csat", 5, 0), *by_staff]))
        assert (fact.csat, fact.nps, fact.thumbs_up, fact.thumbs_down) == (5, None, 0, 0)

    def test_a_refused_call_is_no_failure_of_the_tool(self) -> None:
        calls = [CallRecord("write", "failed", "permission_denied"), CallRecord("read", "unknown")]
        fact = judged(told(replace(ANSWERED, calls=calls)))
        assert (fact.tool_calls, fact.tool_failures, fact.side_effects) == (2, 1, 1)


class TestLatency:
    def test_is_from_the_start_of_a_turn_to_its_end(self) -> None:
        assert latency_of(ANSWERED) == SECOND
        assert latency_of(FAILED) == SECOND

    @pytest.mark.parametrize("turn", [STOPPED, PARKED, replace(ANSWERED, approvals=1), RUNNING], ids=lambda t: t.status)
    def test_is_not_known_of_turns_that_were_stopped_or_waited_for_people(self, turn: TurnRecord) -> None:
        assert latency_of(turn) is None


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (replace(HANDED_OFF, action="handoff"), "not_understood"),
        (replace(HANDED_OFF, action="escalate"), "guardrail"),
        (replace(HANDED_OFF, calls=[CallRecord("write", "unknown")]), "unknown_effect"),
        (replace(HANDED_OFF, fallbacks=("honest",)), "model_unavailable"),
        (replace(HANDED_OFF, calls=[CallRecord("read", "failed")]), "tool_failed"),
        (replace(HANDED_OFF, error_code="too_many_owners"), "too_many_owners"),
        (HANDED_OFF, "agent_decided"),
    ],
)
def test_an_escalation_has_one_of_a_few_reasons(turn: TurnRecord, reason: str) -> None:
    assert escalation_reason(turn) == reason
    assert judged(told(turn)).escalation_reason == reason
