"""What personal and secret data look like. Every pattern is bounded, so that reading a text takes linear time.

Precision first: what carries a check digit (cards, IBANs) must pass it, and a number that the words before it call an
order, an item or a version stays what it is; a masked order number helps nobody.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from handrail.protection.privacy.checks import (
    IBAN_LENGTHS,
    is_card_range,
    is_personal_ip,
    is_ssn,
    passes_luhn,
    passes_mod_97,
)
from handrail.protection.privacy.cues import cue_before
from handrail.protection.privacy.spans import Kind, Span, without_overlaps

CHECKED = 0.99
SHAPED = 0.95
CUED = 0.9

Found = Iterator[Span]


class Rule(NamedTuple):
    """`gate` tells cheaply when the rule can't find anything. `find` gets the text and what was asked."""

    gate: Callable[[str], object]
    find: Callable[[str, str | None], Found]


_KEY = re.compile(
    r"\b(?:hr_[0-9a-z]{8}|hrop)_[0-9a-f]{1,64}"
    r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,200}"
    r"|\b(?:gh[oprsu]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_-]{16,64})"
    r"|\bxox[abeprs]-[A-Za-z0-9-]{10,255}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{35}"
    r"|\b(?:hf|npm|dop_v1|shpat|whsec|pat|lin_api)_[A-Za-z0-9]{20,255}"
    r"|\bSG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"
    r"|\beyJ[A-Za-z0-9_-]{8,4000}(?:\.[A-Za-z0-9_-]{0,4000}){1,2}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s]{0,8000}-----END [A-Z ]{0,30}PRIVATE KEY-----)?",
    re.ASCII,
)
_HANDED = re.compile(
    r"\b(?P<scheme>[Bb]earer|[Bb]asic) {1,3}(?P<credential>[A-Za-z0-9._~+/=-]{8,4000})"
    r"|\b(?:api[ _-]?key|secret(?: key)?|access[ _-]?(?:key|token)|auth[ _-]?token|token)"
    r"(?: is|[ \"']{0,2}[:=])[ \"']{0,3}(?P<named>[A-Za-z0-9._~+/=-]{16,400})",
    re.ASCII | re.IGNORECASE,
)
_RANDOM = re.compile(r"[0-9]|[a-z][A-Z]|[A-Za-z0-9][._+/=][A-Za-z0-9=]")


# Looking for one word after the other is faster than one pattern of all.
_KEY_SIGNS = (
    *(
        "hr_",
        "hrop_",
        "sk-",
        "sk_",
        "pk-",
        "pk_",
        "rk-",
        "rk_",
        "gho_",
        "ghp_",
        "ghr_",
        "ghs_",
        "ghu_",
        "github_",
        "xox",
    ),
    *("glpat-", "AKIA", "ASIA", "AIza", "hf_", "npm_", "dop_v1_", "shpat_", "whsec_", "pat_", "lin_api", "SG.", "eyJ"),
    *("BEGIN ", "earer", "EARER", "Basic", "basic", "BASIC", "Key", "key", "KEY", "oken", "OKEN", "ecret", "ECRET"),
)


def _may_hold_key(text: str) -> bool:
    return any(map(text.__contains__, _KEY_SIGNS))


def _keys(text: str, _asked: str | None) -> Found:
    for found in _KEY.finditer(text):
        yield Span(found.start(), found.end(), Kind.API_KEY, CHECKED)
    for found in _HANDED.finditer(text):
        group = "credential" if found["credential"] else "named"
        credential = found[group].rstrip(".-")
        if _RANDOM.search(credential) and (group == "credential" or any(map(str.isdigit, credential))):
            yield Span(found.start(group), found.start(group) + len(credential), Kind.API_KEY, CUED)


_EMAIL = re.compile(
    r"(?<![\w.!#$%&*+~-])[\w!#$%&*+~-][\w.!#$%&*+~'-]{0,63}@(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{0,61}\w"
    r"|(?<![\w.+-])[\w][\w.+-]{0,63} ?[(\[{<] ?at ?[)\]}>] ?[\w-]{1,63}"
    r"(?: ?(?:\.|[(\[{<] ?dot ?[)\]}>]| dot ) ?[\w-]{2,63}){1,4}"
    r"|(?<![\w.+-])[\w][\w.+-]{0,63} at [\w-]{2,63}(?: dot [\w-]{2,63}){1,3}"
    r"|(?<![\w.+-])[\w][\w.+-]{1,63} (?:at|@) "
    r"(?:gmail|yahoo|hotmail|outlook|icloud|proton(?:mail)?|gmx|aol)(?:\.| dot )[a-z]{2,3}\b"
    r"|[\w][\w.+-]{0,63} ?@ ?[\w-]{2,63} ?\. ?[a-z]{2,6}\b",
    re.IGNORECASE,
)


def _emails(text: str, _asked: str | None) -> Found:
    for found in _EMAIL.finditer(text):
        yield Span(found.start(), found.end(), Kind.EMAIL, CHECKED)


_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9]{2})", re.ASCII)


def _ibans(text: str, _asked: str | None) -> Found:
    for head in _IBAN.finditer(text):
        end = _end_after(text, head.start(), IBAN_LENGTHS.get(head[0][:2].upper(), 0))
        if end and not text[end : end + 1].isalnum() and passes_mod_97(text[head.start() : end]):
            yield Span(head.start(), end, Kind.IBAN, CHECKED)


def _end_after(text: str, start: int, most: int) -> int:
    """Where `most` letters and digits end, with at most one blank, dot or dash between two of them; else 0."""
    count = apart = 0
    for place in range(start, min(len(text), start + 2 * most)):
        character = text[place]
        if character.isascii() and character.isalnum():
            count, apart = count + 1, 0
            if count == most:
                return place + 1
        elif character in " -." and not apart:
            apart = 1
        else:
            break
    return 0


_CARD = re.compile(r"(?<![0-9A-Za-z])(?<![0-9][.-])[2-68](?:[ .-]?[0-9]){11,18}(?![0-9A-Za-z])(?![.-][0-9])")
_GROUPED = re.compile(r"[0-9]{4}([ .-])(?:[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}|[0-9]{6}\1[0-9]{4,5})")


def _cards(text: str, asked: str | None) -> Found:
    for found in _CARD.finditer(text):
        digits = re.sub("[^0-9]", "", found[0])
        cue = cue_before(text, found.start()) or asked
        if passes_luhn(digits) and len(digits) >= 13:
            grouped = _GROUPED.fullmatch(found[0]) is not None
            if (is_card_range(digits) and (grouped or cue != "id")) or cue == "card":
                yield Span(found.start(), found.end(), Kind.CARD, CHECKED)
        elif cue == "card" and len(digits) in (15, 16):
            yield Span(found.start(), found.end(), Kind.CARD, CUED)


# Each begins with its first digit, and what must not stand before comes after that: so texts are skipped fast.
_SSN = re.compile(
    r"([0-9](?<![\w.+-][0-9])(?<![0-9] [0-9])[0-9]{2})([ .-]?)([0-9]{2})\2([0-9]{4})(?![\w])(?![.-][0-9])"
)
_SSN_END = re.compile(r"[0-9](?<![\w.+-][0-9])[0-9]{3}(?![\w])(?![ .-][0-9])")


def _ssns(text: str, asked: str | None) -> Found:
    for found in _SSN.finditer(text):
        cue = cue_before(text, found.start()) or asked
        if cue == "ssn" or (found[2] == "-" and cue != "id" and is_ssn(found[1] + found[3] + found[4])):
            yield Span(found.start(), found.end(), Kind.SSN, SHAPED)
    for found in _SSN_END.finditer(text):
        if (asked == "ssn" or _says_ssn(text)) and (cue_before(text, found.start()) or asked) == "ssn":
            yield Span(found.start(), found.end(), Kind.SSN, CUED)


_SAYS_SSN = re.compile(r"\bssn|s\.s\.n|social|ss ?#|tax|national", re.IGNORECASE)


def _says_ssn(text: str) -> bool:
    return _SAYS_SSN.search(text) is not None


_IP = re.compile(
    r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-])(?!\.[0-9])"
    r"|(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"
)


def _ips(text: str, asked: str | None) -> Found:
    for found in _IP.finditer(text):
        cue = cue_before(text, found.start()) or asked
        if cue not in ("version", "id") and is_personal_ip(found[0], cue == "ip"):
            yield Span(found.start(), found.end(), Kind.IP, SHAPED)


_PHONE = re.compile(
    r"(?<![\w.+-])(?:"
    r"(?:\+|00)[1-9](?:[ ./()-]{0,2}[0-9]){6,13}"
    r"|\(?0[1-9][0-9]{1,4}\)?[ /-][0-9](?:[ -]?[0-9]){4,9}"
    r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}"
    r")(?![\w-])(?!\.[0-9])(?: ?(?:x|ext\.?) ?[0-9]{1,6}\b)?"
)
_BARE_PHONE = re.compile(r"(?<![\w.+-])\(?[0-9](?:[ ./()-]{0,2}[0-9]){6,13}(?![\w-])(?!\.[0-9])")


def _phones(text: str, asked: str | None) -> Found:
    for found in _PHONE.finditer(text):
        cue = cue_before(text, found.start())
        if found[0][0] == "+" or cue not in ("id", "card", "version", "ssn"):
            yield Span(found.start(), found.end(), Kind.PHONE, SHAPED)
    for found in _BARE_PHONE.finditer(text):
        if (cue_before(text, found.start()) or asked) == "phone":
            yield Span(found.start(), found.end(), Kind.PHONE, CUED)


_PASSWORD = re.compile(
    r"\b(?:pass ?(?:word|code|phrase)|pwd|pw)(?: is| ?[:=])? {1,2}(?P<word>(?=\S{0,40}[0-9])[^\s,;]{4,64})",
    re.IGNORECASE,
)


def _passwords(text: str, _asked: str | None) -> Found:
    for found in _PASSWORD.finditer(text):
        yield Span(found.start("word"), found.end("word"), Kind.PASSWORD, CUED)


_DIGIT = re.compile("[0-9]")
RULES: Sequence[Rule] = (
    Rule(_may_hold_key, _keys),
    Rule(re.compile(r"@|[(\[{<] ?at ?[)\]}>]| at [\w-]{2,63}(?:\.| dot )", re.IGNORECASE).search, _emails),
    Rule(re.compile(r"[A-Za-z]{2}[0-9]{2}").search, _ibans),
    Rule(re.compile("[0-9](?:[ .-]?[0-9]){11}").search, _cards),
    Rule(re.compile("[0-9]{4}").search, _ssns),
    Rule(re.compile(r"[0-9]\.[0-9]|[0-9A-Fa-f]:[0-9A-Fa-f:]").search, _ips),
    Rule(re.compile("[0-9](?:[ ./()-]{0,2}[0-9]){6}").search, _phones),
    Rule(re.compile("pass|pwd|pw", re.IGNORECASE).search, _passwords),
)


def find_by_rules(text: str, asked: str | None = None) -> list[Span]:
    """What the rules find, in text order, without overlaps. The text is folded already."""
    has_digits = _DIGIT.search(text) is not None
    found: list[Span] = []
    for place, rule in enumerate(RULES):
        if (has_digits or place < _NEEDING_DIGITS) and rule.gate(text):
            found += rule.find(text, asked)
    return without_overlaps(found)


# Keys and addresses of e-mail may have none.
_NEEDING_DIGITS = 2
