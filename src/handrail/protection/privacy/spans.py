"""Where personal data stands in a text."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What was found. The order is the order of trust: of two finds that overlap, the earlier kind stays."""

    API_KEY = "API_KEY"
    EMAIL = "EMAIL"
    IBAN = "IBAN"
    CARD = "CARD"
    SSN = "SSN"
    IP = "IP"
    PHONE = "PHONE"
    ACCOUNT = "ACCOUNT"
    PASSWORD = "PASSWORD"  # noqa: S105 - the name of a kind
    PERSON = "PERSON"
    ADDRESS = "ADDRESS"


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) are personal; `score` is how sure that is."""

    start: int
    end: int
    kind: Kind
    score: float


def without_overlaps(spans: Iterable[Span]) -> list[Span]:
    """In text order; a span that touches one given earlier is dropped."""
    kept: list[Span] = []
    for span in spans:
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept)
