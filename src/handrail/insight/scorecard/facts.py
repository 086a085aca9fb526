"""What became of a conversation. Pure; these are the definitions that every report counts by.

- A conversation counts from its first turn that ended, and in the hour in which it began.
- Its **intent** is that of the first turn that acted on one; of none, that of the first turn that had one.
- It is **completed** when its last turn answered: it acted on the message, ended without an error, asked nothing back
  and handed nothing over. Turns that were stopped do not count here.
- It is **escalated** when one of its turns was handed to people.
- It is **recontacted** when its user began another conversation with the agent about the same intent before the window
  after its last turn was over.
- It is **resolved** when it is completed, not escalated and not recontacted. The user's own word on it comes before
  that, staff's before the user's, and a reviewer's before all.
- **Ratings and thumbs** are those of its user; what staff give stands beside them and is in no rate.
- It is **closed** once the window is over and no turn runs or waits; until then it is pending, and no rate counts it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from handrail.insight.scorecard.transcripts import CallRecord, FeedbackRecord, Transcript, TurnRecord

HOUR_MICROS = 3600 * 1_000_000
DEFAULT_WINDOW_MICROS = 24 * HOUR_MICROS

_ENDED = frozenset({"completed", "failed", "cancelled"})
PARKED = "requires_action"
# The check of answers for claims that the agent was not given, as it is called where it trips.
GROUNDING = "grounding"
_COUNTED = _ENDED | {PARKED}
_ACTED = frozenset({"execute", "continue"})
Status = Literal["open", "pending", "closed"]


@dataclass(frozen=True, slots=True)
class ConversationFact:
    """What is known of one conversation; `subject` is gone once its user is erased or its words are deleted.

    Attributes:
        closes_at: when its window is over; None while a turn of it runs or waits for people.
        is_resolved: by what is known so far; it counts once the conversation is closed.
        said_resolved: the user's word, staff's or a reviewer's, if there is one.
        latency_micros: of its slowest turn.
        unsupported_turns: whose answer claims what the agent was not given; None where nobody has counted that.
        side_effects: tool calls that wrote.
    """

    conversation_id: str
    tenant_id: str
    subject: str | None
    agent: str
    release_id: str
    channel: str
    intent: str
    variant: str
    started_at: int
    last_at: int
    closes_at: int | None
    is_closed: bool
    turns: int
    failed_turns: int
    is_completed: bool
    is_resolved: bool
    is_escalated: bool
    is_recontacted: bool
    said_resolved: bool | None
    escalation_reason: str | None
    tool_calls: int
    tool_failures: int
    tripped: int
    refused: int
    side_effects: int
    approvals: int
    csat: int | None
    nps: int | None
    thumbs_up: int
    thumbs_down: int
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_micros: int
    unpriced_calls: int
    value_micros: int
    latency_micros: int | None
    unsupported_turns: int | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "ConversationFact":
        """As it is stored: flags are numbers there."""
        values: dict[str, Any] = {name: row[name] for name in _NAMES}
        values.update((name, bool(values[name])) for name in _FLAGS)
        said = values["said_resolved"]
        values["said_resolved"] = None if said is None else bool(said)
        return cls(**values)

    @property
    def status(self) -> Status:
        if self.closes_at is None:
            return "open"
        return "closed" if self.is_closed else "pending"


_NAMES = tuple(each.name for each in fields(ConversationFact))
_FLAGS = ("is_closed", "is_completed", "is_resolved", "is_escalated", "is_recontacted")


def counted(transcript: Transcript) -> Sequence[TurnRecord]:
    """The turns that have ended or wait for people, in order."""
    return [turn for turn in transcript.turns if turn.status in _COUNTED]


def intent_of(transcript: Transcript) -> str:
    """What the user came for; `''` when no turn had an intent."""
    known = [turn for turn in counted(transcript) if turn.intent]
    acted = (turn.intent for turn in known if turn.action in _ACTED)
    return next(acted, None) or next((turn.intent for turn in known), None) or ""


def answered(turn: TurnRecord) -> bool:
    """It did what was asked: nothing is open after it."""
    return turn.status == "completed" and turn.action in _ACTED and not turn.is_waiting and not turn.is_escalated


def latency_of(turn: TurnRecord) -> int | None:
    """From a turn's start to its end; not of one that was stopped or waited for people, which says nothing of us."""
    if turn.status not in ("completed", "failed") or turn.approvals:
        return None
    if turn.started_at is None or turn.ended_at is None:
        return None
    return max(0, turn.ended_at - turn.started_at)


def has_failed(call: CallRecord) -> bool:
    """The tool gave no answer; a call that was not let through says nothing of the tool."""
    return call.status in ("failed", "unknown") and call.code is None


def escalation_reason(turn: TurnRecord) -> str:
    """Why a turn was handed to people, as one of a few codes: the written reason is about somebody."""
    if turn.error_code == "too_many_owners":
        return turn.error_code
    if turn.action == "handoff":
        return "not_understood"
    if turn.action == "escalate":
        return "guardrail"
    if any(call.status == "unknown" for call in turn.calls):
        return "unknown_effect"
    if "honest" in turn.fallbacks:
        return "model_unavailable"
    return "tool_failed" if any(has_failed(call) for call in turn.calls) else "agent_decided"


def fact_of(transcript: Transcript, *, window_micros: int, next_at: int | None, now: int) -> ConversationFact | None:
    """The fact as of now; None before the first turn has ended.

    Args:
        window_micros: for how long after its last turn a conversation may still turn out not to be resolved.
        next_at: when the same user began the next conversation with the agent about the same intent.
    """
    turns = counted(transcript)
    if not turns:
        return None
    calls = [call for turn in turns for call in turn.calls]
    usage = [each for turn in turns for each in turn.usage]
    last_at = max(turn.ended_at or turn.created_at for turn in turns)
    is_open = any(turn.status not in _ENDED for turn in transcript.turns)
    window_ends_at = last_at + window_micros
    ended = [turn for turn in turns if turn.status != "cancelled"]
    is_completed = bool(ended) and answered(ended[-1])
    escalated = [turn for turn in turns if turn.is_escalated]
    is_recontacted = next_at is not None and next_at <= window_ends_at
    said = _said(transcript)
    users = [each for each in transcript.feedback if each.is_users]
    latencies = [found for turn in turns if (found := latency_of(turn)) is not None]
    return ConversationFact(
        conversation_id=transcript.conversation_id,
        tenant_id=transcript.tenant_id,
        subject=transcript.subject,
        agent=transcript.agent,
        release_id=transcript.release_id,
        channel=transcript.channel,
        intent=intent_of(transcript),
        variant="",
        started_at=transcript.created_at,
        last_at=last_at,
        closes_at=None if is_open else window_ends_at,
        is_closed=not is_open and window_ends_at <= now,
        turns=len(turns),
        failed_turns=sum(turn.status == "failed" for turn in turns),
        is_completed=is_completed,
        is_resolved=said if said is not None else is_completed and not escalated and not is_recontacted,
        is_escalated=bool(escalated),
        is_recontacted=is_recontacted,
        said_resolved=said,
        escalation_reason=escalation_reason(escalated[-1]) if escalated else None,
        tool_calls=len(calls),
        tool_failures=sum(has_failed(call) for call in calls),
        tripped=sum(bool(tripped_by(turn)) for turn in turns),
        refused=sum(turn.action == "refuse" for turn in turns),
        side_effects=sum(call.effect == "write" for call in calls),
        approvals=sum(turn.approvals for turn in turns),
        csat=_last(users, "csat"),
        nps=_last(users, "nps"),
        thumbs_up=sum(each.kind == "thumb" and each.score > 0 for each in users),
        thumbs_down=sum(each.kind == "thumb" and each.score < 0 for each in users),
        model_calls=len(usage),
        input_tokens=sum(each.input_tokens or 0 for each in usage),
        output_tokens=sum(each.output_tokens or 0 for each in usage),
        cost_micros=sum(each.cost_micros or 0 for each in usage),
        unpriced_calls=sum(each.cost_micros is None for each in usage),
        value_micros=sum(transcript.values),
        latency_micros=max(latencies, default=None),
        unsupported_turns=sum(GROUNDING in turn.tripped for turn in turns),
    )


def closed_without_words(fact: ConversationFact, now: int) -> ConversationFact:
    """A conversation whose rows are gone, at the end of its window: what was known of it is what counts."""
    return replace(fact, is_closed=fact.closes_at is not None and fact.closes_at <= now)


def tripped_by(turn: TurnRecord) -> Sequence[str]:
    """The guardrails that this turn tripped: its message, its answer, or what its tools said."""
    of_calls = [name for call in turn.calls for name in call.tripped]
    return sorted({*turn.tripped, *of_calls}) if of_calls or turn.tripped else ()


def _said(transcript: Transcript) -> bool | None:
    if transcript.verdicts:
        return transcript.verdicts[-1]
    by_staff = [each for each in transcript.feedback if not each.is_users and each.kind == "resolved"]
    word = _last(by_staff or transcript.feedback, "resolved")
    return None if word is None else word > 0


def _last(feedback: Iterable[FeedbackRecord], kind: str) -> int | None:
    scores = [each.score for each in feedback if each.kind == kind]
    return scores[-1] if scores else None
