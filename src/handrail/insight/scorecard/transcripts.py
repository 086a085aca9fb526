"""What a conversation's fact is made of: its rows as they are stored, without a word that was said."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from handrail.core.usage import BROKEN_OFF, LOST

# Nobody said a price; nobody told tokens; somebody stopped the call; its process died.
Unpriced = Literal["no_price", "no_tokens", "broken_off", "lost"]
UNPRICED: tuple[Unpriced, ...] = get_args(Unpriced)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One tool call; `code` is why it was not let through, as far as it was not."""

    effect: str
    status: str
    code: str | None = None
    tripped: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One model call; None where nobody knows."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_micros: int | None = None
    cached_tokens: int | None = None
    provider: str = ""
    model: str = ""
    finish_reason: str = "stop"

    @property
    def unpriced(self) -> Unpriced | None:
        """Why its cost is not known, when it is not."""
        if self.cost_micros is not None:
            return None
        if self.finish_reason in (LOST, BROKEN_OFF):
            return "lost" if self.finish_reason == LOST else "broken_off"
        return "no_tokens" if self.input_tokens is None or self.output_tokens is None else "no_price"


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn.

    Attributes:
        is_waiting: it ended with a question to the user, who has not answered within it.
        is_escalated: it was handed to people.
        tripped: the guardrails that its message or its answer tripped.
        fallbacks: the rungs below the first that answered one of its model calls.
        approvals: how many of its tool calls had to wait for people.
    """

    id: str
    status: str
    release_id: str
    created_at: int
    started_at: int | None = None
    ended_at: int | None = None
    intent: str | None = None
    action: str | None = None
    latency_class: str | None = None
    is_waiting: bool = False
    is_escalated: bool = False
    error_code: str | None = None
    overhead_micros: int | None = None
    tripped: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    calls: Sequence[CallRecord] = ()
    usage: Sequence[UsageRecord] = ()
    approvals: int = 0


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """One word that holds now, the user's or staff's: `thumb` (-1, 1), `csat` (1 to 5), `nps` (0 to 10), `resolved`."""

    kind: str
    score: int
    created_at: int
    is_users: bool = True


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that is counted of one conversation.

    Attributes:
        feedback: what holds now, oldest first.
        verdicts: what reviewers say of its being resolved, oldest first.
        values: the amounts of its value events, in micro-units.
    """

    conversation_id: str
    tenant_id: str
    subject: str
    agent: str
    release_id: str
    channel: str
    created_at: int
    turns: Sequence[TurnRecord] = ()
    feedback: Sequence[FeedbackRecord] = ()
    verdicts: Sequence[bool] = ()
    values: Sequence[int] = ()
