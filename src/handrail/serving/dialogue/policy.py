"""Pure readings of what a user wrote inside a flow: a slot's value, a skip, or the wish to get out."""

import datetime as dt
import re
from typing import Literal

from pydantic import JsonValue

from handrail.serving.dialogue.schema import Slot

MAX_MISSES = 2
_FREE_TEXT_CHARACTERS = 500

_PERSON = (
    r"(?:(?:a|an|the|some|your|any)\s+)?(?:(?:real|live|actual|human)\s+)*"
    r"(?:human(?:\s+being)?s?|person|people|agents?|representatives?|rep|operators?|someone|somebody|staff|supervisor|manager)"
)
_WANTS_PERSON = re.compile(
    r"\b(?:want|need|like|prefer|get|give|find|put|connect|transfer|hand|pass|talk|speak|chat|talking|speaking)\b"
    rf"(?:\s+(?:me|us|to|with|over|through|on|talk|speak|chat|have|a\s+word))*\s+{_PERSON}\b"
)
_ONLY_PERSON = re.compile(rf"(?:{_PERSON}|(?:real|live)\s+chat)(?:\s+(?:please|now))*")
_NEGATED = re.compile(r"\b(?:don'?t|do\s+not|doesn'?t|no\s+need|not|never|without)\b")
_CANCEL = re.compile(
    r"(?:(?:oh|ok|okay|no|sorry|actually|please|wait|hm+)\s+)*"
    r"(?:cancel|stop|quit|exit|abort|never\s?mind|forget\s+(?:it|that|about\s+it)|leave\s+it|drop\s+it|"
    r"i(?:'ve|\s+have)?\s+changed\s+my\s+mind|let(?:'s|s)\s+stop(?:\s+here)?)"
    r"(?:\s+(?:please|now|thanks|thank\s+you|then))*"
)
_SKIP = re.compile(
    r"(?:please\s+)?(?:skip(?:\s+(?:it|this|that))?|none|nothing|no|nope|n/a|pass)(?:\s+(?:please|thanks))?"
)

_MONTHS = [f"{dt.date(2000, number, 1):%B}".lower() for number in range(1, 13)]
_MONTH = "|".join(f"{month}|{month[:3]}" for month in _MONTHS)
_DATES = (
    re.compile(r"(?<!\d)(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})(?!\d)"),
    re.compile(
        rf"(?<!\d)(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\.?\s+(?:of\s+)?(?P<month>{_MONTH})\.?,?\s+(?P<year>\d{{4}})"
    ),
    re.compile(rf"\b(?P<month>{_MONTH})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})"),
)
_NUMBERS = {
    "integer": re.compile(r"(?<![\w.,])-?\d+(?!\w|[.,]\d)"),
    "number": re.compile(r"(?<![\w.,])-?\d+(?:\.\d+)?(?!\w|[.,]\d)"),
}


def leaves_flow(text: str) -> Literal["cancel", "human"] | None:
    """Whether the user wants out of the flow: to drop it, or to talk to a person."""
    plain = _plain(text)
    if _CANCEL.fullmatch(plain):
        return "cancel"
    if _ONLY_PERSON.fullmatch(plain):
        return "human"
    wants = _WANTS_PERSON.search(plain)
    return "human" if wants and not _NEGATED.search(plain[: wants.start()]) else None


def skips(text: str) -> bool:
    """Whether the user does not want to answer an optional question."""
    return _SKIP.fullmatch(_plain(text)) is not None


def find_value(slot: Slot, text: str) -> JsonValue:
    """The one value for `slot` in `text`, or None when there is none, or more than one and no way to choose."""
    match slot.type:
        case "string" if slot.pattern is None:
            found = {" ".join(text.split())[:_FREE_TEXT_CHARACTERS]} - {""}
        case "string":
            found = set(_matches(slot.pattern or "", text))
        case "choice":
            found = set(_choices(slot.choices, text))
        case "date":
            found = set(_dates(text))
        case "integer" | "number":
            numbers = (float(number) for number in _NUMBERS[slot.type].findall(text))
            found = {int(number) if number.is_integer() else number for number in numbers}
        case "boolean":
            found = set[JsonValue]()
    values = [_cased(slot, value) for value in found]
    return values[0] if values and all(value == values[0] for value in values) else None


def _matches(pattern: str, text: str) -> list[str]:
    whole = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)
    return [found.group() for found in whole.finditer(text)]


def _choices(choices: list[str], text: str) -> list[str]:
    named = [
        choice for choice in choices if re.search(rf"(?<!\w){re.escape(choice)}(?:e?s)?(?!\w)", text, re.IGNORECASE)
    ]
    return [choice for choice in named if not any(choice != other and choice in other for other in named)]


def _dates(text: str) -> list[str]:
    found: list[str] = []
    for pattern in _DATES:
        for match in pattern.finditer(text.lower()):
            month = match["month"]
            number = int(month) if month.isdigit() else next(i for i, m in enumerate(_MONTHS, 1) if m[:3] == month[:3])
            try:
                found.append(dt.date(int(match["year"]), number, int(match["day"])).isoformat())
            except ValueError:
                continue
    return found


def _cased(slot: Slot, value: JsonValue) -> JsonValue:
    if slot.case == "keep" or not isinstance(value, str):
        return value
    return value.upper() if slot.case == "upper" else value.lower()


def _plain(text: str) -> str:
    text = text.lower().replace("’", "'")
    return " ".join(re.sub(r"[^\w'/ ]+", " ", text).split())
