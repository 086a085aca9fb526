"""Injection detection in layers: fold, a gate for plain messages, signatures, a classifier a sentence, and last what
encodings hide.

A layer, not the boundary: what a text may cause is decided at the tool's edge, whatever is found here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from handrail.protection.guardrails.head import Channel, InjectionHead, chance, log_odds, shipped_head
from handrail.protection.guardrails.normalise import MOST_CHARACTERS, fold, unmasked
from handrail.protection.guardrails.peel import peeled
from handrail.protection.guardrails.plain import PlainWords, shipped_plain_words
from handrail.protection.guardrails.segments import segments
from handrail.protection.guardrails.signatures import Signatures, shipped_signatures

# What a weak signature adds to the classifier's log odds.
WEAK_SIGNATURE = 1.0
_SURE = 0.999
# What a message has that the gate lets through; below every threshold that is of use.
PLAIN_SCORE = 0.001
# A cheap gate: each piece costs as much as a short message, and records hold dozens of short values.
FEWEST_SPACES = 2
LONG_PIECE = 40


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in one text. `reasons` name signatures and layers, never words of the text."""

    flagged: bool
    score: float
    reasons: tuple[str, ...] = ()


class Detector:
    """Pure and safe to share between threads."""

    def __init__(
        self,
        head: InjectionHead | None = None,
        signatures: Signatures | None = None,
        thresholds: Mapping[Channel, float] | None = None,
        plain: Literal["shipped"] | PlainWords | None = "shipped",
    ) -> None:
        self._head = head or shipped_head()
        self._signatures = signatures or shipped_signatures()
        self._plain = shipped_plain_words() if plain == "shipped" else plain
        self.thresholds: Mapping[Channel, float] = {**self._head.thresholds, **(thresholds or {})}

    def scan(self, text: str, channel: Channel, threshold: float | None = None) -> Finding:
        """Whether the text tries to instruct the model; `threshold` instead of the deployment's."""
        limit = self.thresholds[channel] if threshold is None else threshold
        if channel == "user" and self._plain is not None and self._plain.is_plain(fold(text)):
            return Finding(limit <= PLAIN_SCORE, PLAIN_SCORE)
        score, reasons = self._judge(text, channel)
        for hidden in peeled(text[:MOST_CHARACTERS]):
            inner, found = self._judge(hidden, channel)
            if inner >= limit:
                score, reasons = max(score, inner), [*reasons, *(f"encoded.{each}" for each in found or ["classifier"])]
        if score >= limit and not reasons:
            reasons = ["classifier"]
        return Finding(score >= limit, score, tuple(dict.fromkeys(reasons)))

    def _judge(self, text: str, channel: Channel) -> tuple[float, list[str]]:
        folded = fold(text)
        found = self._signatures.found(folded, channel)
        if (plain := unmasked(folded)) is not None:
            found += [each for each in self._signatures.found(plain, channel) if each not in found]
        odds = max((self._head.logit(each, channel) for each in _views(text, folded)), default=log_odds(0.0))
        weak = WEAK_SIGNATURE if any(not each.alone for each in found) else 0.0
        reasons = [f"signature.{each.name}" for each in found]
        score = max(chance(odds + weak), _SURE if any(each.alone for each in found) else 0.0)
        return score, reasons


def _views(text: str, folded: str) -> Iterator[str]:
    """The pieces that are judged one by one, and the whole: an attack may be a sentence, or a long story."""
    pieces = segments(text[:MOST_CHARACTERS])
    if folded:
        yield folded
    if len(pieces) > 1:
        yield from filter(None, (fold(piece) for piece in pieces if _may_say_something(piece)))


def _may_say_something(piece: str) -> bool:
    """Names of fields, ids and single words give no instruction; they are judged with the whole alone."""
    return piece.count(" ") >= FEWEST_SPACES or len(piece) >= LONG_PIECE or not piece.isascii()
