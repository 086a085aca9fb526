"""The user's request for an action, found in the dialogue, and the values it may be about. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from handrail.protection.boundary.actions import Action, Clause, asks_for, mentions_any, offers, question_of
from handrail.protection.boundary.words import Kind, Value, fold, values, words

# How many answers to questions may stand between a request and now.
MOST_ANSWERS = 3
_REFUSES = frozenset({"no", "nope", "stop", "cancel", "never", "forget", "don't", "wait", "nothing"})
# What may follow a bare number that is a sum of money; a thing that is counted may not.
_AFTER_SUM = frozenset({"", "of", "for", "from", "on", "to", "back", "please", "and", "off", "only", "now", "because"})


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody's words. `acted` of the agent's: a tool with an effect was called for them."""

    by: Literal["user", "agent"]
    text: str
    acted: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """How the user asked: in a message, or by a yes to the agent's question; `answers` came after it, newest first."""

    how: Literal["asked", "confirmed"]
    clause: Clause | None = None
    message: str = ""
    answers: tuple[str, ...] = ()
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """Values that were said in one place, from near to far; in a `loose` one nothing says which of several is meant."""

    values: tuple[Value, ...]
    is_question: bool = False
    is_loose: bool = False
    is_far: bool = False

    def of(self, kind: Kind, wants_source: bool = False) -> list[Value]:
        found = [each for each in self.values if not each.is_excluded and _is_of(each, kind, self.is_loose)]
        sources = [each for each in found if each.cue == "from"]
        if sources and len(sources) < len(found) and any(each.cue == "to" for each in found):
            return sources if wants_source else [each for each in found if each.cue != "from"]
        return found


def find_request(
    action: Action, actions: Sequence[Action], dialogue: Sequence[Said], answer: bool | None
) -> Request | None:
    """What the user said that asks for this action, if anything does.

    Args:
        answer: what the newest words are if they are a plain yes or no.
    """
    if not dialogue or dialogue[-1].by != "user":
        return None
    newest, before = dialogue[-1].text, dialogue[:-1]
    asked_last = before[-1] if before and before[-1].by == "agent" else None
    if answer is False and asked_last is not None and question_of(asked_last.text) is not None:
        # "Cancel it" may be how a user says no.
        return None
    if answer and asked_last is not None:
        question = offers(action, asked_last.text, [each for each in actions if each.tool != action.tool])
        if question is not None:
            return Request("confirmed", answers=(newest,), question=question)
    others = [each for each in actions if each.tool != action.tool]
    return _asked(action, others, dialogue)


def _asked(action: Action, others: Sequence[Action], dialogue: Sequence[Said]) -> Request | None:
    """The newest message, or the one that it is an answer after."""
    answers: list[str] = []
    question: str | None = None
    for index in range(len(dialogue) - 1, -1, -1):
        said = dialogue[index]
        if said.by == "agent":
            if said.acted:
                return None
            continue
        clause = asks_for(action, said.text, others)
        if clause is not None:
            return Request("asked", clause, said.text, tuple(answers), question)
        before = dialogue[index - 1] if index else None
        asked = question_of(before.text) if before is not None and before.by == "agent" else None
        if asked is None or len(answers) >= MOST_ANSWERS or not _is_answer(said.text, (action, *others)):
            return None
        answers.append(said.text)
    return None


def _is_answer(text: str, actions: Sequence[Action]) -> bool:
    said = words(fold(text))
    refuses = bool(said) and said[0] in _REFUSES
    return not (refuses or text.rstrip().endswith("?") or mentions_any(actions, text))


def layers(request: Request | None, dialogue: Sequence[Said], today: date) -> list[Layer]:
    """Where the values of a call may come from, the nearest place first."""
    made: list[Layer] = []
    spoken = [each.text for each in dialogue if each.by == "user"]
    if request is None:
        made += [Layer(tuple(values(spoken[-1], today)), is_loose=False)] if spoken else []
        spoken = spoken[:-1]
    else:
        if request.question is not None:
            made.append(Layer(tuple(values(request.question, today)), is_question=True))
        made += [Layer(tuple(values(answer, today))) for answer in request.answers]
        if request.clause is not None:
            made.append(Layer(tuple(values(request.clause.text, today))))
            made.append(Layer(tuple(values(request.clause.sentence, today)), is_loose=True))
            made.append(Layer(tuple(values(request.message, today)), is_loose=True))
        near = {request.message, *request.answers}
        spoken = [text for text in spoken if text not in near]
    far = [Layer(tuple(values(text, today)), is_loose=True, is_far=True) for text in reversed(spoken)]
    return [*made, *far]


def _is_of(value: Value, kind: Kind, is_loose: bool) -> bool:
    if kind == "money":
        is_sum = value.kind == "number" and value.after in _AFTER_SUM and not is_loose
        return value.kind == "money" or is_sum
    if kind == "number":
        return value.kind in ("number", "count")
    return value.kind == kind
