"""What personal and secret data look like. Every pattern is bounded, so that reading a text takes linear time.

Precision first: what carries a check digit (cards, IBANs) must pass it, for a masked order number helps nobody.
"""

import re
from collections.abc import Callable
from typing import NamedTuple


class Detector(NamedTuple):
    """`gate` is a cheap sign without which the pattern can't match; `accept` has the last word on a match."""

    mask: str
    gate: re.Pattern[str]
    pattern: re.Pattern[str]
    accept: Callable[[str], bool]


def _always(_found: str) -> bool:
    return True


def passes_luhn(found: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812)."""
    digits = [int(character) for character in found if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def passes_mod_97(found: str) -> bool:
    """The check digits of an IBAN (ISO 13616)."""
    text = found.replace(" ", "")
    return 15 <= len(text) <= 34 and int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


_DIGIT = re.compile("[0-9]")

DETECTORS = (
    Detector(
        "[secret]",
        re.compile(r"hr_|hrop_|sk-|sk_|gh[opsu]_|xox|AKIA|eyJ|[Bb]earer|[Bb]asic", re.ASCII),
        re.compile(
            r"\b(?:hr_[0-9a-z]{8}|hrop)_[0-9a-f]{1,64}"
            r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,200}"
            r"|\bgh[opsu]_[A-Za-z0-9]{16,255}"
            r"|\bxox[abprs]-[A-Za-z0-9-]{10,255}"
            r"|\bAKIA[A-Z0-9]{16}"
            r"|\beyJ[A-Za-z0-9_-]{8,4000}(?:\.[A-Za-z0-9_-]{0,4000}){1,2}"
            r"|\b(?:[Bb]earer|[Bb]asic) [A-Za-z0-9._~+/=-]{8,4000}",
            re.ASCII,
        ),
        _always,
    ),
    Detector(
        "[email]",
        re.compile("@"),
        re.compile(r"[\w.!#$%&*+~-]{1,64}@(?:[\w-]{1,63}\.){1,8}\w{2,63}"),
        _always,
    ),
    Detector(
        "[iban]",
        re.compile(r"[A-Z]{2}[0-9]{2}"),
        re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", re.ASCII),
        passes_mod_97,
    ),
    Detector(
        "[card]",
        _DIGIT,
        # Cards begin with 2 to 6; a time in microseconds begins with 1 until the year 2033.
        re.compile(r"(?<![0-9])[2-6](?:[ -]?[0-9]){12,18}(?![0-9])"),
        passes_luhn,
    ),
    Detector(
        "[phone]",
        _DIGIT,
        re.compile(
            r"(?<![\w.+-])(?:"
            r"(?:\+|00)[1-9](?:[ ./()-]{0,2}[0-9]){6,13}"
            r"|\(?0[1-9][0-9]{1,4}\)?[ /-][0-9](?:[ -]?[0-9]){4,9}"
            r"|\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4}"
            r")(?![\w-])"
        ),
        _always,
    ),
)
