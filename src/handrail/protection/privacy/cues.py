"""The words that tell what a number is: "ssn 9999" is personal, "order 9999" is not."""

import re
from collections.abc import Mapping

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
_MOST_QUESTION = 400
_QUESTION_CUES = ("ssn", "card", "phone", "email", "iban", "name", "address", "ip", "key", "id")


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
    named = {found.lastgroup for found in _CUE.finditer(previous[-_MOST_QUESTION:])}
    return next((cue for cue in _QUESTION_CUES if cue in named), None)


def cues_in(text: str) -> list[tuple[int, int, str]]:
    """Every cue of the text in order: where it starts, where it ends, what it is."""
    return [(found.start(), found.end(), found.lastgroup or "") for found in _CUE.finditer(text)]
