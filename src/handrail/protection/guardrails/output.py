"""Output guardrails: what the model says, looked through while it streams, outside the model.

Nothing is held back until something suspicious begins; then only that is, until it is decided. What can be judged by
whole sentences only is flagged when the answer is complete; a policy that withholds it has the answer go out sentence
by sentence. What goes out does not depend on how the model cut its text into pieces.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from handrail.core.errors import HandrailError
from handrail.protection.guardrails.addresses import Links, Markup
from handrail.protection.guardrails.grounding import Grounding, ground
from handrail.protection.guardrails.leaks import WAIT, Decision, KeyShapes, KnownStrings, Step
from handrail.protection.guardrails.overlap import Instructions
from handrail.protection.guardrails.schema import OutputAction, OutputPolicy

PERSONAL, INSTRUCTIONS, GROUNDING = "personal_data", "instructions", "grounding"
BY_SENTENCE = (PERSONAL, INSTRUCTIONS, GROUNDING)
STRICTNESS: Sequence[OutputAction] = ("allow", "flag", "mask", "withhold", "refuse")
WITHHELD = "[withheld]"

_SENTENCE_END = re.compile(r"[.!?…][\"')\]]{0,2}\s+|\n+")
# A sentence without an end is judged in pieces.
LONGEST_SENTENCE = 1_000

FindPersonal = Callable[[str], Sequence[str]]


class AnswerRefused(HandrailError):
    """The answer held something that a policy does not let out in any form."""

    code = "output_refused"


@dataclass(frozen=True, slots=True)
class OutputGuardrail:
    """One release's policy made ready. `hosts` are the domains its project names, `instructions` what it is told."""

    policy: OutputPolicy
    hosts: frozenset[str] = frozenset()
    instructions: Instructions = field(default_factory=Instructions)


class OutputScanner:
    """What is the same for all answers of a process: its secrets, and the pattern of every suspicious beginning."""

    def __init__(self, secrets: KnownStrings = KnownStrings(), find_personal: FindPersonal = lambda text: ()) -> None:
        self.secrets = secrets
        self.find_personal = find_personal
        openings = [*secrets.openings(), *KeyShapes().openings(), *Links.openings(), *Markup.openings()]
        self.openings = re.compile("|".join(openings))

    def masked(self, text: str, guardrails: Sequence[OutputGuardrail] = ()) -> str:
        """A whole text that is shown beside an answer: secrets and canaries masked, and all of it where it repeats
        instructions that a policy withholds."""
        if any(_withholds_instructions(each) and each.instructions.overlap(text) for each in guardrails):
            return WITHHELD
        out: list[str] = []
        at = 0
        while (found := self.openings.search(text, at)) is not None:
            start = found.start()
            step = self._secret_at(text, start)
            out += [text[at:start], text[start : start + 1] if step is None else step.mark]
            at = start + 1 if step is None else step.end if step.rest is None else _end(step.rest, text, step.end)
        return "".join([*out, text[at:]])

    def _secret_at(self, text: str, at: int) -> Step | None:
        for finder in (self.secrets, KeyShapes()) if self.secrets.strings else (KeyShapes(),):
            decision = finder.at(text, at, True)
            if isinstance(decision, Step) and decision.guardrail:
                return decision
        return None


class OutputFilter:
    """One answer on its way out.

    Args:
        guardrails: of every release whose policy holds; the stricter wins, and a domain must be listed by all.
        canaries: strings of this turn that must not go out either.
        given: what the model was given, by others or by the project; a list that may still grow.
        is_generated: a model wrote the answer, so that what it claims must be found in `given`.
    """

    def __init__(
        self,
        scanner: OutputScanner,
        guardrails: Sequence[OutputGuardrail],
        *,
        given: Sequence[str] = (),
        canaries: Sequence[str] = (),
        is_generated: bool = True,
        today: date | None = None,
    ) -> None:
        listed = guardrails[0].hosts
        for each in guardrails[1:]:
            listed &= each.hosts
        self.actions: Mapping[str, OutputAction] = (
            guardrails[0].policy.actions if len(guardrails) == 1 else _strictest(guardrails)
        )
        self.grounding = Grounding()
        self.tripped: dict[str, tuple[str, ...]] = {}
        self._scanner = scanner
        self._guardrails = guardrails
        self._given = given
        self._canaries = KnownStrings(tuple(canaries))
        self._is_generated = is_generated
        self._today = today
        self._listed = listed
        self._finders: Sequence[Any] | None = None
        self._by_sentence = any(self.actions[name] in ("withhold", "refuse") for name in BY_SENTENCE)
        self._is_plain = not self._by_sentence and not canaries
        self._begin()

    def watch(self, canaries: Sequence[str]) -> None:
        """More strings that must not go out from here on: what the model has just been told."""
        self._canaries = KnownStrings((*self._canaries.strings, *canaries))
        self._is_plain, self._finders = False, None

    def _begin(self) -> None:
        self._raw: list[str] = []
        self._out: list[str] = []
        self._held = ""
        self._last = ""
        self._rest: re.Pattern[str] | None = None
        self._sentence = ""

    def feed(self, text: str) -> str:
        """More of the answer; returns what may go out now.

        Raises:
            AnswerRefused: nothing of the answer may.
        """
        self._raw.append(text)
        if self._is_plain and text and not self._held and self._rest is None and self._is_harmless(text):
            self._last = text[-1]
            self._out.append(text)
            return text
        return self._said(self._sift(text, is_final=False), is_final=False)

    def close(self) -> str:
        """The end of the answer; returns what was held back and may go out."""
        said = self._said(self._sift("", is_final=True), is_final=True)
        if not self._by_sentence:
            self._judge("".join(self._out), may_withhold=False)
        return said

    def take_back(self, characters: int) -> str:
        """The last characters that were fed are void; returns all that is out now."""
        raw = "".join(self._raw)
        self._begin()
        return self.feed(raw[: len(raw) - characters])

    def clean(self, text: str) -> str:
        """Another text of the same turn, whole."""
        other = OutputFilter(self._scanner, self._guardrails, given=self._given, canaries=self._canaries.strings)
        return other.feed(text) + other.close()

    def _sift(self, text: str, *, is_final: bool) -> str:
        text = self._held + text
        if self._rest is not None and text:
            rest = self._rest.match(text)
            end = rest.end() if rest else 0
            self._last, text = text[end - 1 : end] or self._last, text[end:]
            if text:
                self._rest = None
        if not text:
            return ""
        if not self._canaries.strings and self._is_harmless(text):
            self._held, self._last = "", text[-1]
            return text
        return self._decide(self._last + text, len(self._last), is_final)

    def _is_harmless(self, text: str) -> bool:
        """Nothing suspicious begins in it."""
        return self._scanner.openings.search(self._last + text, len(self._last)) is None

    def _decide(self, text: str, at: int, is_final: bool) -> str:
        """Go from one suspicious beginning to the next; what can't be decided yet is held back."""
        out: list[str] = []
        self._held = ""
        while (start := self._next(text, at)) < len(text):
            out.append(text[at:start])
            step = self._step(text, start, is_final)
            if step is None:
                self._held, at = text[start:], start
                break
            out.append(self._passed(step, text[start : step.end]))
            at = step.end
            if step.rest is not None and step.guardrail and self._stands_in(step):
                at = _end(step.rest, text, at)
                self._rest = step.rest if at == len(text) else None
        else:
            out.append(text[at:])
            at = len(text)
        self._last = text[at - 1 : at] if at else ""
        return "".join(out)

    def _next(self, text: str, at: int) -> int:
        found = self._scanner.openings.search(text, at)
        start = found.start() if found else len(text)
        canary = self._canaries.first(text, at) if self._canaries.strings else -1
        return min(start, canary) if canary >= 0 else start

    def _step(self, text: str, at: int, is_final: bool) -> Step | None:
        """What is decided from here on; None to wait. What one finder knows comes before what another suspects."""
        waits = False
        for finder in self._all_finders():
            decision: Decision = finder.at(text, at, is_final)
            if isinstance(decision, Step):
                return decision
            waits = waits or decision is WAIT
        return None if waits else Step(at + 1)

    def _all_finders(self) -> Sequence[Any]:
        if self._finders is None:
            secrets = [each for each in (self._scanner.secrets, self._canaries) if each.strings]
            self._finders = [*secrets, KeyShapes(), Markup(self._listed), Links(self._listed, self._given)]
        return self._finders

    def _stands_in(self, step: Step) -> bool:
        return self.actions[step.guardrail or ""] in ("mask", "withhold", "refuse")

    def _passed(self, step: Step, text: str) -> str:
        """The text, or the mark that stands for it."""
        name = step.guardrail
        if name is None or self.actions[name] == "allow":
            return text
        self._trip(name, ())
        return (step.mark or WITHHELD) if self._stands_in(step) else text

    def _trip(self, name: str, reasons: Sequence[str]) -> None:
        known = self.tripped.get(name, ())
        self.tripped[name] = tuple(dict.fromkeys([*known, *reasons]))[:8]
        if self.actions[name] == "refuse":
            raise AnswerRefused(f"the output guardrail {name!r} refuses this answer")

    def _said(self, text: str, *, is_final: bool) -> str:
        if not self._by_sentence:
            self._out.append(text)
            return text
        self._sentence += text
        out: list[str] = []
        while (end := _sentence_end(self._sentence, is_final)) > 0:
            sentence, self._sentence = self._sentence[:end], self._sentence[end:]
            out.append(self._judged_sentence(sentence))
        return "".join(out)

    def _judged_sentence(self, sentence: str) -> str:
        if not self._judge(sentence, may_withhold=True):
            return sentence
        words = sentence.rstrip()
        return WITHHELD + sentence[len(words) :]

    def _judge(self, text: str, *, may_withhold: bool) -> bool:
        """Trip what the text trips; whether it is withheld."""
        found = {name: reasons for name in BY_SENTENCE if (reasons := self._found(name, text))}
        for name, reasons in found.items():
            self._trip(name, reasons)
        return may_withhold and any(self.actions[name] == "withhold" for name in found)

    def _found(self, name: str, text: str) -> Sequence[str]:
        """Reasons why this one trips, never words of the text."""
        if self.actions[name] == "allow":
            return ()
        if name == INSTRUCTIONS:
            return ("overlap",) if any(each.instructions.overlap(text) for each in self._guardrails) else ()
        if name == PERSONAL:
            return ("not_given",) if any(not self._is_given(each) for each in self._scanner.find_personal(text)) else ()
        if not self._is_generated:
            return ()
        found = ground(text, self._given, self._today)
        self.grounding += found
        return [f"{kind}_not_given" for kind in found.unsupported]

    def _is_given(self, personal: str) -> bool:
        wanted = _bare(personal)
        return any(wanted in _bare(each) for each in self._given)


def _withholds_instructions(guardrail: OutputGuardrail) -> bool:
    return guardrail.policy.actions[INSTRUCTIONS] in ("withhold", "refuse")


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _sentence_end(text: str, is_final: bool) -> int:
    """Where the first sentence ends, blanks after it included; 0 if it may still go on."""
    found = _SENTENCE_END.search(text)
    if found is not None and (found.end() < len(text) or is_final):
        return found.end()
    return len(text) if is_final or len(text) > LONGEST_SENTENCE else 0


def _strictest(guardrails: Sequence[OutputGuardrail]) -> Mapping[str, OutputAction]:
    strictest = dict(guardrails[0].policy.actions)
    for each in guardrails[1:]:
        for name, action in each.policy.actions.items():
            if STRICTNESS.index(action) > STRICTNESS.index(strictest[name]):
                strictest[name] = action
    return strictest
