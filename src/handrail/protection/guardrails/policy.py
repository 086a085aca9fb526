"""What happens to a message, by what was found in it. Pure; of several policies the strictest word counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handrail.protection.guardrails.content import PAYMENT_DATA, WordList, categories_of, shipped_words
from handrail.protection.guardrails.detector import Detector, Finding
from handrail.protection.guardrails.head import Channel
from handrail.protection.guardrails.normalise import fold
from handrail.protection.guardrails.schema import Action, GuardrailsPolicy, OutputAction

# From let through to stopped: a person who answers is more than a note, and a refusal is more than both.
STRICTNESS: Sequence[str] = ("allow", "flag", "escalate", "refuse")
STOPPING: frozenset[str] = frozenset({"escalate", "refuse"})
INJECTION = "injection"


@dataclass(frozen=True, slots=True)
class Tripped:
    """One guardrail that a text tripped, and what its policy says."""

    guardrail: str
    action: Action | OutputAction
    score: float | None = None
    reasons: tuple[str, ...] = ()
    answer: str | None = None

    @property
    def stops(self) -> bool:
        """The text does not reach the model."""
        return self.action in STOPPING

    def stored(self) -> dict[str, Any]:
        """As it stands in the record: no word of the text."""
        score = None if self.score is None else round(self.score, 4)
        record = {"guardrail": self.guardrail, "action": self.action, "score": score, "reasons": list(self.reasons)}
        return record | ({"answer": self.answer} if self.answer and self.stops else {})

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Tripped":
        """What `stored` has written."""
        return cls(
            record["guardrail"], record["action"], record["score"], tuple(record["reasons"]), record.get("answer")
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a message tripped, strictest first."""

    tripped: tuple[Tripped, ...] = ()

    @property
    def action(self) -> Action | OutputAction:
        return self.tripped[0].action if self.tripped else "allow"

    @property
    def stops(self) -> bool:
        return self.action in STOPPING

    @property
    def names(self) -> str:
        """The guardrails whose word it is, for people of the deployment."""
        return ", ".join(each.guardrail for each in self.tripped if each.action == self.action)

    @property
    def answer(self) -> str | None:
        """What the policy has the user told; None to leave the words to the turn."""
        return next((each.answer for each in self.tripped if each.action == self.action and each.answer), None)

    def stored(self) -> list[dict[str, Any]]:
        return [each.stored() for each in self.tripped]

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]]) -> "Judgement":
        """What `stored` has written."""
        return cls(tuple(Tripped.of(each) for each in records))


class InputGuardrail:
    """One release's policy made ready: its word list is compiled once."""

    def __init__(self, policy: GuardrailsPolicy) -> None:
        self.policy = policy
        added = policy.words
        shipped = shipped_words()
        lists = {name: [*shipped.get(name, ()), *added.get(name, ())] for name in {**shipped, **added}}
        self._words = WordList.of(lists, policy.without)

    def content(self, folded: str) -> Iterable[Tripped]:
        for category in sorted(categories_of(folded, self._words)):
            action = self.policy.content.get(category, "flag")
            yield Tripped(f"content.{category}", action, answer=self.policy.answers.get(category))

    def injection(self, detector: Detector, found: Finding, channel: Channel) -> Iterable[Tripped]:
        policy = self.policy.injection
        action = policy.user if channel == "user" else policy.tool
        limit = detector.thresholds[channel] if policy.threshold is None else policy.threshold
        if found.score >= limit:
            reasons, answer = found.reasons or ("classifier",), self.policy.answers.get(INJECTION)
            yield Tripped(INJECTION, action, found.score, reasons, answer)


def unknown_categories(policy: GuardrailsPolicy) -> Sequence[tuple[str, str]]:
    """Categories that something is to happen for and that nothing falls into, with the key they stand under."""
    known = {PAYMENT_DATA, *shipped_words(), *policy.words}
    answered = [each for each in policy.answers if each != INJECTION]
    named = [*(("content", each) for each in policy.content), *(("answers", each) for each in answered)]
    return [(key, name) for key, name in named if name not in known]


def judge(detector: Detector, guardrails: Sequence[InputGuardrail], text: str, channel: Channel) -> Judgement:
    """The text by every policy that holds; each guardrail once, by its strictest word. Content is a user's matter."""
    found = detector.scan(text, channel)
    folded = fold(text) if channel == "user" else ""
    strictest: dict[str, Tripped] = {}
    for each in guardrails:
        own = [*each.injection(detector, found, channel), *(each.content(folded) if folded else ())]
        for tripped in own:
            known = strictest.get(tripped.guardrail)
            if known is None or _rank(tripped) > _rank(known):
                strictest[tripped.guardrail] = tripped
    noted = [each for each in strictest.values() if each.action != "allow"]
    return Judgement(tuple(sorted(noted, key=lambda each: (-_rank(each), each.guardrail))))


def _rank(tripped: Tripped) -> int:
    return STRICTNESS.index(tripped.action)
