"""What an answering part (dialogue flow, agent loop) hands back to the turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from handrail.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Awaiting:
    """What the conversation waits for from the user; stored on the conversation and acted on once.

    Kinds: `confirm` (yes/no to a guessed intent), `clarify` (which of two intents), `slot` (a value a flow asked
    for) and `flow_confirm` (yes/no inside a flow). `state` is the JSON-safe state of the one who asked.
    """

    kind: Literal["confirm", "clarify", "slot", "flow_confirm"]
    intent: str
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arguments_hash: str | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Handoff:
    """The agent gives the conversation to people: why, and to which team."""

    reason: str
    team: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the answer, to be streamed now."""

    text: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The last `characters` that were said are void: the model broke off, and another one says it anew."""

    characters: int


@dataclass(frozen=True, slots=True)
class ModelCalled:
    """One model call has ended: what the ledger needs to know."""

    provider: str
    model: str
    usage: Usage
    milliseconds: int
    finish_reason: str
    cost_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last event of every answer. `result` says how the flow or the loop ended."""

    result: Literal["answered", "asked", "handed_off", "failed"]
    awaiting: Awaiting | None = None
    handoff: Handoff | None = None
    sources: tuple[str, ...] = ()
    error_code: str | None = None


AnswerEvent = Said | TakenBack | ModelCalled | Outcome
