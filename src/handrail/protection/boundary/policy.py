"""May this call run, now that text is about which nobody vouches for? Values in, a verdict with its reasons out.

An argument counts only when it comes from the user's words, the caller's claims, a field that a tool vouches for and
that those words single out, or a declared default. Untrusted text is evidence of nothing, so more of it never allows
more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from handrail.core.tools import Effect
from handrail.protection.boundary.actions import Action, actions_of
from handrail.protection.boundary.evidence import COUNTS, Evidence, Origin, Parameter, ambiguous, mismatched
from handrail.protection.boundary.records import Result, leaves
from handrail.protection.boundary.request import Request, Said, find_request
from handrail.protection.boundary.words import fold

_LONGEST_SHOWN = 40
_SAID: Mapping[Origin, str] = {
    "user": "the user's words",
    "confirmed": "the question the user said yes to",
    "claim": "who the caller is",
    "record": "the record the user named",
    "default": "the tool's default",
    "free": "free text, as the tool declares",
    "agent": "only the agent named it",
    "rival": "not what the user named",
    "unclear": "it is not clear that the user means it",
    "nowhere": "in no word of the user",
}


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, and what its tool declares. `egress`: its arguments leave for a place outside."""

    tool: str
    effect: Effect
    arguments: Mapping[str, Any]
    parameters: Mapping[str, Parameter]
    egress: bool = False
    free_text: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when the call is asked for.

    Attributes:
        dialogue: what user and agent said, oldest first; it ends with the user's newest words.
        untrusted: the untrusted texts of the context, each with where it stands; empty in a turn without any.
        actions: what the agent's writes are called.
        answer: what the user's newest words are if they are a plain yes or no.
        done: the writes of this turn that have run, with their arguments.
    """

    dialogue: Sequence[Said]
    today: date
    results: Sequence[Result] = ()
    untrusted: Sequence[tuple[str, str]] = ()
    actions: Sequence[Action] = ()
    claims: frozenset[str] = frozenset()
    answer: bool | None = None
    done: Sequence[tuple[str, Mapping[str, Any]]] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`origins` says of each judged argument where it comes from."""

    allowed: bool
    reason: str
    origins: Mapping[str, Origin] = field(default_factory=dict[str, Origin])


def judge(call: Call, situation: Situation) -> Verdict:
    """Whether the call runs without a person's approval."""
    if not situation.untrusted:
        return Verdict(True, "nothing untrusted is in the context")
    return _judge_read(call, situation) if call.effect == "read" else _judge_write(call, situation)


def _judge_write(call: Call, situation: Situation) -> Verdict:
    action = _action(call, situation.actions)
    request = find_request(action, situation.actions, situation.dialogue, situation.answer)
    evidence = _evidence(request, situation)
    origins = _origins(call, evidence, situation.today)
    if request is None:
        return Verdict(False, f"the user did not ask for {call.tool}", origins)
    if (repeated := _repeats(call, situation.done)) is not None:
        return Verdict(False, repeated, origins)
    return _verdict(call, origins, situation)


def _judge_read(call: Call, situation: Situation) -> Verdict:
    """A read changes nothing; what its arguments carry outwards is judged."""
    if call.egress:
        evidence = _evidence(None, situation, only_words=True)
        return _verdict(call, _origins(call, evidence, situation.today), situation)
    evidence = _evidence(None, situation)
    origins: dict[str, Origin] = {}
    for name, value in call.arguments.items():
        parameter = call.parameters.get(name) or Parameter(name)
        for each in leaves(value):
            origin = evidence.address_origin(parameter, each) if isinstance(each, str) else None
            if origin is not None and origins.get(name, "user") in COUNTS:
                origins[name] = origin
    return _verdict(call, origins, situation)


def _origins(call: Call, evidence: Evidence, today: date) -> dict[str, Origin]:
    parameters = {name: call.parameters.get(name) or Parameter(name) for name in call.arguments}
    origins: dict[str, Origin] = {
        name: "free" if name in call.free_text else evidence.origin_of(parameters[name], value)
        for name, value in call.arguments.items()
    }
    judged = {name: each for name, each in parameters.items() if origins[name] in ("user", "confirmed", "record")}
    said = {name: each for name, each in judged.items() if origins[name] == "user"}
    unclear = ambiguous(judged, call.arguments, evidence, today) or mismatched(said, call.arguments, evidence)
    for name in unclear:
        origins[name] = "unclear"
    return origins


def _verdict(call: Call, origins: Mapping[str, Origin], situation: Situation) -> Verdict:
    bad = [name for name, origin in origins.items() if origin not in COUNTS]
    if not bad:
        return Verdict(True, "every argument comes from the user or a record that is vouched for", origins)
    return Verdict(False, "; ".join(_said_of(name, call, origins, situation) for name in bad), origins)


def _said_of(name: str, call: Call, origins: Mapping[str, Origin], situation: Situation) -> str:
    value = str(call.arguments[name])
    shown = value if len(value) <= _LONGEST_SHOWN else f"{value[: _LONGEST_SHOWN - 1]}…"
    place = next((place for place, text in situation.untrusted if value and fold(value) in fold(text)), None)
    return f"{name} {shown!r}: {_SAID[origins[name]]}" + (f", but in {place}" if place else "")


def explained(verdict: Verdict) -> str:
    """The verdict in a line for whoever approves, with where each argument comes from."""
    rest = [f"{name}: {_SAID[origin]}" for name, origin in verdict.origins.items() if origin in COUNTS]
    return verdict.reason + (f" ({'; '.join(rest)})" if rest else "")


def _evidence(request: Request | None, situation: Situation, *, only_words: bool = False) -> Evidence:
    return Evidence(
        request, situation.dialogue, situation.results, situation.claims, situation.today, only_words=only_words
    )


def _action(call: Call, actions: Sequence[Action]) -> Action:
    return next((each for each in actions if each.tool == call.tool), None) or actions_of([(call.tool, ())])[0]


def _repeats(call: Call, done: Sequence[tuple[str, Mapping[str, Any]]]) -> str | None:
    """One request is one effect: the same thing again, or anything of a tool that names no thing, is another."""
    named = _things(call.arguments)
    for tool, arguments in done:
        if tool == call.tool and (not named or named == _things(arguments)):
            return f"{call.tool} has run for this request already"
    return None


def _things(arguments: Mapping[str, Any]) -> frozenset[str]:
    """What the call is about: its texts that are codes or addresses."""
    texts = (each for each in leaves(arguments) if isinstance(each, str))
    return frozenset(fold(each) for each in texts if any(map(str.isdigit, each)) or "@" in each)
