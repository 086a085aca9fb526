"""Grounding: do the numbers, dates, ids, quotes and names of an answer stand in what the model was given?

A proxy, and a coarse one: it sees that "49.99" or "A1004" is nowhere in tool results, documents or the user's words,
not that a sentence is wrong. What follows by a sum, a difference, a count or some days later counts as given.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

from handrail.core import json

ClaimKind = Literal["number", "date", "id", "quote", "name"]
# More pairs than of so many numbers are not tried.
MOST_NUMBERS = 60
MOST_EVIDENCE_CHARACTERS = 50_000
# Counts of a few things, numbers of a list: anybody may say them.
SMALL = 10

_MONTHS = {
    "january": 1, "february": 2, "march": 3, "april": 4, "may": 5, "june": 6, "july": 7, "august": 8, "september": 9,
    "october": 10, "november": 11, "december": 12, "jan": 1, "feb": 2, "mar": 3, "apr": 4, "jun": 6, "jul": 7, "aug": 8,
    "sep": 9, "sept": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATE = re.compile(
    r"(?<![\w-])(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})(?!\d)"
    r"|(?<![\w./])(?P<a>\d{1,2})[./](?P<b>\d{1,2})[./](?P<c>\d{4})(?![\w/])"
    rf"|\b(?P<d1>\d{{1,2}})(?:st|nd|rd|th|\.)?(?: of)? (?P<m1>{_MONTH})\b\.?(?:,? (?P<y1>\d{{4}})\b)?"
    rf"|\b(?P<m2>{_MONTH})\.? (?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<y2>\d{{4}})\b)?",
    re.IGNORECASE,
)
_ID = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9][\w-]{2,62}[A-Za-z0-9](?![\w-])")
_PLAIN_WORD_WITH_NUMBER = re.compile(r"\d+(?:st|nd|rd|th|[a-z]{1,3})|\d+-[a-z-]+|[a-z-]+-\d+", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.,-])[-+]?(?:\d{1,3}(?:[,  ’']\d{3})+|\d+)(?:[.,]\d{1,2}(?!\d))?(?![\w-]*\d)")
_QUOTE = re.compile(r"[\"“«](?P<quote>[^\"“”«»\n]{8,300})[\"”»]")
_NAME = re.compile(r"(?<![.!?:\n] )(?<!^)(?<!\n)\b[A-Z][a-z’'-]+(?: [A-Z][a-z’'-]+)+\b")
_SPAN = re.compile(r"(?<![\w.-])(\d{1,3})[ -](?:(?:business|working|calendar) )?(day|week)s?\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_DIGIT = re.compile(r"\d")
_SIGNS = re.compile(r"[\d\"“«]|[a-z,] [A-Z][a-z’'-]+ [A-Z]")


@dataclass(frozen=True, slots=True)
class Claim:
    kind: ClaimKind
    written: str


@dataclass(frozen=True, slots=True)
class Grounding:
    """How many claims there were, and the kinds of those that nothing supports."""

    claims: int = 0
    unsupported: tuple[ClaimKind, ...] = ()

    def __add__(self, other: "Grounding") -> "Grounding":
        return Grounding(self.claims + other.claims, self.unsupported + other.unsupported)


class Evidence:
    """What an answer may be taken from, read when the first claim asks."""

    def __init__(self, texts: Sequence[str], today: date | None = None) -> None:
        # Within JSON a line break is two signs, the second a letter.
        self._text = "\n".join(texts)[-MOST_EVIDENCE_CHARACTERS:].replace("\\n", " ")
        self._texts = texts
        self._today = today

    @cached_property
    def words(self) -> set[str]:
        return set(_WORD.findall(self._text.lower()))

    @cached_property
    def numbers(self) -> set[int]:
        """In hundredths, so that 12.5, 12.50 and 1250 cents meet."""
        plain = {value for each in _NUMBER.finditer(self._text) for value in _values(each[0])}
        return plain | {value // 100 for value in plain if value % 100 == 0} | _counts(self._texts)

    @cached_property
    def dates(self) -> set[date]:
        found = {each for each in map(_as_date, _DATE.finditer(self._text)) if each}
        return found | ({self._today} if self._today else set[date]())

    def supports(self, claim: Claim) -> bool:
        if claim.kind == "date":
            found = _DATE.fullmatch(claim.written)
            return found is None or self._has_date(found)
        if claim.kind == "number":
            return any(self._has_number(value) for value in _values(claim.written))
        words = _WORD.findall(claim.written.lower())
        if claim.kind == "quote":
            return " ".join(words) in " ".join(_WORD.findall(self._text.lower()))
        if claim.kind == "id":
            return claim.written.lower() in self._text.lower() or all(each in self.words for each in words)
        return all(each in self.words for each in words)

    def _has_number(self, value: int) -> bool:
        if value in self.numbers:
            return True
        some = sorted(self.numbers)[:MOST_NUMBERS]
        if any(value in (one + other, other - one) for one, other in combinations(some, 2)):
            return True
        days = {abs((one - other).days) * 100 for one, other in combinations(sorted(self.dates)[:20], 2)}
        return value in days

    def _has_date(self, found: re.Match[str]) -> bool:
        parts = _parts(found)
        if any(all(part in (None, getattr(each, name)) for name, part in parts.items()) for each in self.dates):
            return True
        claimed = _as_date(found)
        if claimed is None:
            return False
        spans = {int(each[1]) * (7 if each[2].lower() == "week" else 1) for each in _SPAN.finditer(self._text)}
        return any(each + timedelta(days=days) == claimed for each in self.dates for days in spans)


def ground(text: str, given: Sequence[str], today: date | None = None) -> Grounding:
    """The claims of the text against what the model was given."""
    if not _SIGNS.search(text):
        return Grounding()
    claims = list(claims_of(text))
    if not claims:
        return Grounding()
    known = Evidence(given, today)
    return Grounding(len(claims), tuple(each.kind for each in claims if not known.supports(each)))


def claims_of(text: str) -> Iterator[Claim]:
    """What can be looked up; each piece of text is one claim only."""
    patterns: list[tuple[ClaimKind, re.Pattern[str]]] = [
        ("quote", _QUOTE), ("date", _DATE), ("id", _ID), ("number", _NUMBER), ("name", _NAME),
    ]  # fmt: skip
    has_digits = _DIGIT.search(text) is not None
    for kind, pattern in patterns:
        if kind in ("date", "id", "number") and not has_digits:
            continue
        for found in pattern.finditer(text):
            if not _is_noise(kind, found[0]):
                yield Claim(kind, found["quote"] if kind == "quote" else found[0])
        text = pattern.sub(lambda found: " " * len(found[0]), text)


def _is_noise(kind: ClaimKind, written: str) -> bool:
    if kind == "id":
        return _PLAIN_WORD_WITH_NUMBER.fullmatch(written) is not None
    return kind == "number" and written.isdecimal() and int(written) <= SMALL


def _values(written: str) -> Iterator[int]:
    """What a number may mean, in hundredths: 1,250 is one thousand in one country and one and a quarter in another."""
    digits = re.sub(r"[  ’']", "", written).lstrip("+-")
    whole, mark, rest = _split(digits)
    if len(whole) > 18:
        return
    yield int(whole) * 100 + (int(rest.ljust(2, "0")) if mark else 0)


def _split(digits: str) -> tuple[str, str, str]:
    """The digits before and after the decimal mark, which has one or two digits after it."""
    found = re.fullmatch(r"([\d.,]*?)([.,])(\d{1,2})", digits)
    if found is None:
        return re.sub(r"[.,]", "", digits) or "0", "", ""
    return re.sub(r"[.,]", "", found[1]) or "0", found[2], found[3]


def _parts(found: re.Match[str]) -> dict[str, int | None]:
    if found["y"]:
        return {"year": int(found["y"]), "month": int(found["m"]), "day": int(found["d"])}
    if found["c"]:
        # Day first; where that is no date, month first.
        one, two = int(found["a"]), int(found["b"])
        day, month = (one, two) if two <= 12 else (two, one)
        return {"year": int(found["c"]), "month": month, "day": day}
    name, day = (found["m1"], found["d1"]) if found["m1"] else (found["m2"], found["d2"])
    year = found["y1"] or found["y2"]
    return {"year": int(year) if year else None, "month": _MONTHS[name.lower()], "day": int(day)}


def _as_date(found: re.Match[str]) -> date | None:
    parts = _parts(found)
    try:
        return date(parts["year"] or 0, parts["month"] or 0, parts["day"] or 0)
    except ValueError:
        return None


def _counts(texts: Sequence[str]) -> set[int]:
    """How many there are of each list in JSON, and what the numbers of its rows add up to; in hundredths."""
    found: set[int] = set()
    for text in texts:
        if text[:1] in "[{":
            try:
                _count(json.loads(text), found, 0)
            except ValueError:
                continue
    return found


def _count(value: Any, found: set[int], depth: int) -> None:
    if depth > 12:
        return
    if isinstance(value, list):
        found.add(100 * len(value))
        rows: list[dict[str, Any]] = [each for each in value if isinstance(each, dict)]
        for key in {key for row in rows[:50] for key in row}:
            numbers = [row[key] for row in rows if isinstance(row.get(key), int | float)]
            total = round(100 * sum(numbers))
            found |= {total, total // 100} if total % 100 == 0 else {total}
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _count(each, found, depth + 1)
