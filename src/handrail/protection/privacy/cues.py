"""The words that tell what a number is: "ssn 9999" is personal, "order 9999" is not."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# What people ask for and name, in the words of support chats. The last cue before a number decides.
_CUES: Mapping[str, str] = {
    "ssn": r"s\.?s\.?n\b|social(?: security| sec)?|ss ?#|(?:tax(?:payer)?|national) id",
    "card": r"(?:credit|debit|bank)? ?cards?\b|\bcc\b|visa|master ?card|amex|american express"
    r"|\bpan\b|kreditkarte|tarjeta",
    "phone": r"phone|mobile|\bcell|\btel\b|telephone|whats ?app|reach (?:me|us|him|her)|text me|contact (?:me|num|no)"
    r"|\bcall(?: me| him| her| us| back)\b|\bfax\b|\bsms\b|\bring me|landline|telefon|handy|\bcontact is|\bcallback"
    r"|\b(?:my|her|his|their|our|your)(?: new| old| current| work| home| other)? (?:number|num|no)\b",
    "email": r"e-?mail|\bmail\b|gmail|inbox",
    "iban": r"\biban\b|bank account",
    "name": r"\bnames?\b|who am i (?:speaking|talking|chatting)|who is this|whom? (?:do i have|am i)"
    r"|call you|account holder",
    "address": r"address|where (?:do|are) you liv|street|\bzip\b|post ?code|ship(?:ping)? to|deliver(?:ed|y)? to",
    "ip": r"\bips?\b|ip address|log(?:ged)? ?in"
    r"|sign(?:ed)? ?in|\bhost\b|connect(?:ed|ion|ing)? from|\bfrom\b",
    "key": r"api[ _-]?key|secret|token|access key",
    "version": r"firmware|version|release|build|\bv\b|upgraded?|update[ds]?|driver|software",
    "id": r"orders?|\bitems?\b|tickets?|invoices?|tracking|\bref(?:erence|und)?\b|\bsku\b|serial|\bmodels?\b"
    r"|confirmation|booking|\bcase\b|claim|polic(?:y|ies)|\brma\b|\bparts?\b|products?|account|password|\bpin\b|\bcodes?\b|transaction"
    r"|amount|flight|reservation|member(?:ship)?|\bvin\b|imei|isbn|upc|\bean\b|customer (?:id|no|num)|user ?id|\bid\b"
    r"|coupon|voucher|gift",
}
_CUE = re.compile("|".join(f"(?P<{name}>{words})" for name, words in _CUES.items()), re.IGNORECASE)
# A cue reaches this far; a question is read to its end.
_REACH = 48
MOST_QUESTION = 400


class _Asking(NamedTuple):
    """A cue as questions name it. No match of `words` is without one of the `signs`, which are cheaper to look for."""

    cue: str
    words: re.Pattern[str]
    signs: Sequence[str]


# The most personal first. Reading all the words at once costs twenty times as much as the signs of a text without them.
_SIGNS: Mapping[str, str] = {
    "ssn": "s.n|sn|social|ss#|ss #|tax|national",
    "card": "card|cc|visa|amex|american|pan|kart|tarjeta",
    "phone": "phon|mobil|cell|tel|whats|reach|text me|contact|call|fax|sms|ring me|landline|handy|num| no",
    "email": "mail|inbox",
    "iban": "iban|bank",
    "name": "name|who|call you|holder",
    "address": "address|where|street|zip|post|ship|deliver",
    "ip": "ip|log|sign|host|connect|from",
    "key": "api|secret|token|access",
    "id": "order|item|ticket|invoice|track|ref|sku|serial|model|confirm|booking|case|claim|polic|rma|part|product"
    "|account|password|pin|code|transaction|amount|flight|reserv|member|vin|imei|isbn|upc|ean|customer|id|coupon|voucher|gift",
}
_ASKING = tuple(_Asking(cue, re.compile(_CUES[cue], re.IGNORECASE), signs.split("|")) for cue, signs in _SIGNS.items())


def cue_before(text: str, start: int) -> str | None:
    """The last cue before a place, with no other number in between."""
    before = text[max(0, start - _REACH) : start]
    for place in range(len(before) - 1, -1, -1):
        if "0" <= before[place] <= "9":
            before = before[place + 1 :]
            break
    cues = [found.lastgroup for found in _CUE.finditer(before)]
    return cues[-1] if cues else None


def cue_of_question(previous: str | None) -> str | None:
    """What the question before this message asked for. Of several, the most personal."""
    if not previous:
        return None
    question = previous[-MOST_QUESTION:]
    lowered = question.casefold()
    for cue, words, signs in _ASKING:
        if any(map(lowered.__contains__, signs)) and words.search(question):
            return cue
    return None


def has_cue(text: str) -> bool:
    """Whether there is any cue in the text."""
    return _CUE.search(text) is not None


def cues_in(text: str) -> list[tuple[int, int, str]]:
    """Every cue of the text in order: where it starts, where it ends, what it is."""
    return [(found.start(), found.end(), found.lastgroup or "") for found in _CUE.finditer(text)]
