"""What is said afterwards: by the users themselves, by reviewers, and by a system that knows what came of it."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from handrail.core.principal import Principal, Role
from handrail.flows.feedback import (
    EventWanted,
    FeedbackWanted,
    VerdictWanted,
    give_feedback,
    give_verdict,
    record_event,
)
from handrail.flows.services import Services
from handrail.insight.feedback import FeedbackKind
from handrail.testing.simulation.people import Mood

_PRAISE = ("That was quick, thank you.", "Exactly what I needed.", "Better than waiting on the phone.")
_BLAME = ("That did not help me at all.", "I had to explain it twice.", "I still don't know where my parcel is.")
# After these a customer may buy something.
_SELLING = frozenset({"stock", "product_advice"})
_SOLD, _REVIEWED = 0.3, 0.08


@dataclass(frozen=True, slots=True)
class Voices:
    """Leaves words on a conversation that has ended, through the same flows as everybody's."""

    services: Services
    rng: random.Random
    counts: Counter[str]

    async def speak(self, who: Principal, mood: Mood, conversation_id: str, turn_id: str, *, is_content: bool) -> None:
        """Perhaps a thumb, perhaps more, as somebody of this mood judges what they got."""
        if self.rng.random() >= mood.speaks:
            return
        praises = is_content and self.rng.random() < mood.content
        for wanted in self._words(turn_id, praises=praises):
            await give_feedback(self.services, who, conversation_id, wanted)
            self.counts[f"feedback {wanted.kind}"] += 1

    def _words(self, turn_id: str, *, praises: bool) -> Sequence[FeedbackWanted]:
        """A thumb always; each further kind from some."""
        rng = self.rng
        scores: Sequence[tuple[FeedbackKind, float, int]] = (
            ("csat", 0.5, rng.choice((4, 5, 5)) if praises else rng.choice((1, 2, 3))),
            ("nps", 0.25, rng.choice((8, 9, 9, 10)) if praises else rng.choice((1, 3, 5, 6))),
            ("resolved", 0.35, int(praises)),
        )
        words = [FeedbackWanted("thumb", 1 if praises else -1, turn_id=turn_id)]
        words += [FeedbackWanted(kind, score) for kind, chance, score in scores if rng.random() < chance]
        if rng.random() < 0.2:
            words.append(FeedbackWanted("text", comment=rng.choice(_PRAISE if praises else _BLAME)))
        return words

    async def follow_up(
        self, tenant_id: str, conversation_id: str, turn_id: str, intent: str, *, is_good: bool
    ) -> None:
        """What the shop's till says, and what a reviewer finds in the turns that are looked at."""
        if is_good and intent in _SELLING and self.rng.random() < _SOLD:
            till = Principal(tenant_id, "sim-till", frozenset({Role.OPERATOR}))
            amount = self.rng.randint(9, 120) * 1_000_000
            currency = self.services.feedback_rules.currency
            sold = EventWanted("order.placed", f"order-{conversation_id}", amount, currency, turn_id)
            await record_event(self.services, till, conversation_id, sold)
            self.counts["value events"] += 1
        if self.rng.random() < _REVIEWED:
            reviewer = Principal(tenant_id, "sim-reviewer", frozenset({Role.REVIEWER}))
            right = self.rng.random() < 0.93
            verdict = VerdictWanted(
                turn_id, "routine", _REVIEWED, intent_correct=right, hallucination=False, resolved=is_good and right
            )
            await give_verdict(self.services, reviewer, conversation_id, verdict)
            self.counts["verdicts"] += 1
