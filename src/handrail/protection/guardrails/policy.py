"""What happens to a message, by what was found in it. Pure; of several policies the strictest word counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from handrail.protection.guardrails.content import Category, WordList, categories_of, shipped_words
from handrail.protection.guardrails.detector import Detector, Finding
from handrail.protection.guardrails.head import Channel
from handrail.protection.guardrails.normalise import fold
from handrail.protection.guardrails.schema import Action, GuardrailsPolicy

# From let through to stopped: a person who answers is more than a note, and a refusal is more than both.
STRICTNESS: Sequence[Action] = ("allow", "flag", "escalate", "refuse")


@dataclass(frozen=True, slots=True)
class Tripped:
    """One guardrail that a text tripped, and what its policy says."""

    guardrail: str
    action: Action
    score: float | None = None
    reasons: tuple[str, ...] = ()

    def stored(self) -> dict[str, Any]:
        """As it stands on the turn: no word of the text."""
        score = None if self.score is None else round(self.score, 4)
        return {"guardrail": self.guardrail, "action": self.action, "score": score, "reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a message tripped, strictest first."""

    tripped: tuple[Tripped, ...] = ()

    @property
    def action(self) -> Action:
        return self.tripped[0].action if self.tripped else "allow"

    @property
    def reason(self) -> str:
        names = ", ".join(each.guardrail for each in self.tripped if each.action == self.action)
        return f"a guardrail says {self.action}: {names}" if names else "no guardrail tripped"


class InputGuardrail:
    """One release's policy made ready: its word list is compiled once."""

    def __init__(self, policy: GuardrailsPolicy) -> None:
        self.policy = policy
        added = policy.words
        lists: dict[Category, list[str]] = {
            name: [*texts, *added.get(name, ())] for name, texts in shipped_words().items()
        }
        lists |= {name: list(texts) for name, texts in added.items() if name not in lists}
        self._words = WordList.of(lists, policy.without)

    def content(self, folded: str) -> Iterable[Tripped]:
        for category in sorted(categories_of(folded, self._words)):
            yield Tripped(f"content.{category}", self._action(category))

    def injection(self, detector: Detector, found: Finding, channel: Channel) -> Iterable[Tripped]:
        policy = self.policy.injection
        action = policy.user if channel == "user" else policy.tool
        limit = detector.thresholds[channel] if policy.threshold is None else policy.threshold
        if found.score >= limit:
            yield Tripped("injection", action, found.score, found.reasons or ("classifier",))

    def _action(self, category: Category) -> Action:
        return self.policy.content.get(category, "flag")


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
