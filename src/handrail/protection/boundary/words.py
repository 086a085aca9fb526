"""A text as the values it names: codes, addresses, dates, sums, numbers, each where it stands. Pure; English."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Literal

# A `count` is a number written as a word: never a sum of money.
Kind = Literal["email", "url", "date", "money", "number", "count", "code"]

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SPACES = re.compile(r"\s+")
_EMAIL = re.compile(r"(?<![\w.+@-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+(?![\w@-])")
_HOST = r"(?:(?:[a-z0-9-]+\.)+[a-z]{2,24}|\d{1,3}(?:\.\d{1,3}){3})(?![\w@-]|\.\d)"
_URL = re.compile(rf"[a-z][a-z0-9+.-]*://[^\s<>\"']+|(?<![\w.@-]){_HOST}(?::\d+)?(?:[/?#][^\s<>\"']*)?")
_NUMBER = r"\d+(?:[.,]\d+)*"
_CURRENCY = r"€|\$|£|\beur\b|\beuros?\b|\busd\b|\bdollars?\b|\bgbp\b|\bpounds?\b|\bchf\b|\bfrancs?\b"
_MONEY = re.compile(
    rf"(?:{_CURRENCY})\s?(?P<after>{_NUMBER})(?!\w)|(?<![\w.,])(?P<before>{_NUMBER})\s?(?:{_CURRENCY})"
    rf"|(?<![\w.,])(?P<minor>\d+)\s?(?:cents?|ct|pence)\b"
)
_PLAIN = re.compile(rf"(?<![\w.,-])-?{_NUMBER}(?!\w)")
_CODE = re.compile(r"(?<![\w@])[^\W_]+(?:[-_/.#][^\W_]+)*")
_IBAN = re.compile(r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?\b")
_MEASURE = re.compile(r"\d+(?:[.,]\d+)?(?:st|nd|rd|th|am|pm|kg|g|cm|mm|m|km|l|ml|h|hrs?|mins?|x|d|w|k)")
_SEPARATORS = re.compile(r"[-_/.#\s]")
_MONTHS = {f"{date(2000, number, 1):%B}".lower(): number for number in range(1, 13)}
_MONTH = "|".join(f"{name}|{name[:3]}" for name in _MONTHS)
_DATES = (
    re.compile(r"(?<!\d)(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\.? (?:of )?(?P<n>{_MONTH})\b\.?(?:,? (?P<y>\d{{4}}))?"),
    re.compile(rf"\b(?P<n>{_MONTH})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<y>\d{{4}}))?"),
    re.compile(r"(?<![\d./])(?P<d>\d{1,2})[./](?P<m>\d{1,2})[./](?P<y>\d{4})(?!\d)"),
)
_DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 1
    )
}
_NEGATORS = frozenset({"not", "except", "excluding", "without", "don't", "never", "nor", "neither", "instead", "than"})
_CUES = {"from": "from", "to": "to", "into": "to", "towards": "to"}
_NEAR = 3
_FAR_BEFORE = 80
_PHRASE_ENDS = re.compile(r"[.,;:!?()]\s")
# What stands further on in a text is evidence of nothing.
MOST_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a text. `canonical` is its one spelling; `before` are the words before it, `after` is the next."""

    kind: Kind
    canonical: str
    start: int
    end: int
    before: tuple[str, ...] = ()
    after: str = ""

    @property
    def is_excluded(self) -> bool:
        """Named in order to be left out: "not A1004", "instead of A1004"."""
        return not _NEGATORS.isdisjoint(self.before)

    @property
    def cue(self) -> str | None:
        return next((_CUES[word] for word in reversed(self.before) if word in _CUES), None)


def fold(text: str) -> str:
    """One spelling: compatibility forms composed, nothing unseen, lower case, single spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(each for each in text if unicodedata.category(each) != "Cf").replace("’", "'")
        # Browsers take these for the point in a name.
        text = text.replace("\N{IDEOGRAPHIC FULL STOP}", ".")
    return _SPACES.sub(" ", text).strip().casefold().replace("e-mail", "email")


def is_plain(text: str) -> bool:
    """Whether a reader and a system see the same in it: composed, without characters that nobody sees."""
    if text.isascii():
        return True
    return unicodedata.is_normalized("NFKC", text) and not any(unicodedata.category(each) == "Cf" for each in text)


def words(folded: str) -> list[str]:
    return WORD.findall(folded)


def compact(text: str) -> str:
    """A code without what people put between its parts."""
    return _SEPARATORS.sub("", fold(text))


def decimal_of(text: str) -> str | None:
    """A number as people write it, in one spelling; None when it is none."""
    text = text.strip()
    if "," in text and "." in text:
        last = max(text.rfind(","), text.rfind("."))
        text = text[:last].replace(",", "").replace(".", "") + "." + text[last + 1 :]
    elif text.count(",") == 1 and len(text) - text.find(",") - 1 in (1, 2):
        text = text.replace(",", ".")
    else:
        text = text.replace(",", "")
    try:
        return spelled(Decimal(text))
    except InvalidOperation:
        return None


def spelled(number: Decimal) -> str:
    """`4995`, `49.95`: without an exponent, without zeros at the end of the fraction."""
    shown = format(number, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def values(text: str, today: date) -> list[Value]:
    """Every value of the text in order; a place is read once, by the kind that says most."""
    folded = fold(text[:MOST_CHARACTERS])
    taken = bytearray(len(folded))
    found: list[Value] = []
    for kind, canonical, start, end in _readings(folded, today):
        if any(taken[start:end]):
            continue
        taken[start:end] = b"\1" * (end - start)
        after = WORD.match(folded, end + 1)
        found.append(Value(kind, canonical, start, end, _before(folded, start), after[0] if after else ""))
    return sorted(found, key=lambda each: each.start)


def kind_of(text: str, today: date) -> tuple[Kind, str] | None:
    """What a whole text is, if it is one value."""
    folded = fold(text)
    for kind, canonical, start, end in _readings(folded, today):
        if start == 0 and end == len(folded):
            return kind, canonical
    return None


def _before(folded: str, start: int) -> tuple[str, ...]:
    """The words before, as far back as the beginning of the phrase."""
    phrase = _PHRASE_ENDS.split(folded[max(0, start - _FAR_BEFORE) : start])[-1]
    return tuple(words(phrase)[-_NEAR:])


def _readings(folded: str, today: date) -> Iterator[tuple[Kind, str, int, int]]:
    for found in _EMAIL.finditer(folded):
        yield "email", found[0], found.start(), found.end()
    for found in _URL.finditer(folded):
        shown = found[0].rstrip(".,;:!?)]}")
        yield "url", _address(shown), found.start(), found.start() + len(shown)
    yield from _dates(folded, today)
    for found in _MONEY.finditer(folded):
        number = decimal_of(found["after"] or found["before"] or found["minor"])
        if number is not None:
            main = spelled(Decimal(number) / 100) if found["minor"] else number
            yield "money", main, found.start(), found.end()
    for found in _IBAN.finditer(folded):
        code = found[0].replace(" ", "")
        if _is_iban(code):
            yield "code", code, found.start(), found.end()
    yield from _codes_and_numbers(folded)


def _codes_and_numbers(folded: str) -> Iterator[tuple[Kind, str, int, int]]:
    for found in _CODE.finditer(folded):
        code = found[0]
        has_both = any(map(str.isdigit, code)) and any(map(str.isalpha, code))
        if has_both and not _MEASURE.fullmatch(code):
            yield "code", compact(code), found.start(), found.end()
    for found in _PLAIN.finditer(folded):
        number = decimal_of(found[0])
        if number is not None:
            yield "number", number, found.start(), found.end()
    for found in WORD.finditer(folded):
        if found[0] in _NUMBER_WORDS:
            yield "count", str(_NUMBER_WORDS[found[0]]), found.start(), found.end()


def _dates(folded: str, today: date) -> Iterator[tuple[Kind, str, int, int]]:
    for pattern in _DATES:
        for found in pattern.finditer(folded):
            parts = found.groupdict()
            month = int(parts["m"]) if parts.get("m") else _month(parts.get("n") or "")
            try:
                read = date(int(parts["y"] or today.year), month, int(parts["d"]))
            except ValueError:
                continue
            yield "date", read.isoformat(), found.start(), found.end()
    for found in WORD.finditer(folded):
        if found[0] in _DAYS:
            yield "date", (today + timedelta(days=_DAYS[found[0]])).isoformat(), found.start(), found.end()


def _month(name: str) -> int:
    return next((number for full, number in _MONTHS.items() if name and full.startswith(name)), 0)


def _address(shown: str) -> str:
    """One spelling of an address of the web; another scheme is another address."""
    return re.sub(r"^(?:https?://)?(?:www\.)?", "", shown).rstrip("/")


def _is_iban(code: str) -> bool:
    if not 15 <= len(code) <= 34:
        return False
    turned = code[4:] + code[:4]
    return int("".join(str(int(each, 36)) for each in turned)) % 97 == 1


def stands_in(piece: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether these words stand in the others, side by side and whole."""
    length = len(piece)
    return length > 0 and any(list(whole[at : at + length]) == list(piece) for at in range(len(whole) - length + 1))
