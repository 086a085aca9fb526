"""Secrets in what goes out: strings that are known, and what has the shape of a key or token.

Both are recognised from their first character on, so that a stream can hold back what may become one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

SECRETS = "secrets"
LONGEST_OPENING = 4
# A token is decided on by its first characters; what follows belongs to it.
LONG_ENOUGH = 64
SHORTEST_SECRET = 12

_TOKEN = re.compile(r"[A-Za-z0-9_./+=~-]*")
_RANDOM = re.compile(r"[0-9]|[a-z][A-Z]")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----")
_PRIVATE_KEY_END = re.compile(r"-----END [A-Z ]{0,30}PRIVATE KEY-----")
_PRIVATE_KEY_START = "-----BEGIN "
_LONGEST_KEY_HEAD = 56
_LONGEST_KEY = 8_192
_KEY_BODY = re.compile(r"[A-Za-z0-9+/=\s-]*")
# How a key begins (Handrail's own and the canary in its instructions too), and how many characters follow at least.
_SHAPES: Mapping[str, int] = {
    "sk-": 16, "sk_": 16, "pk-": 16, "pk_": 16, "rk-": 16, "rk_": 16, "ghp_": 16, "gho_": 16, "ghr_": 16, "ghs_": 16,
    "ghu_": 16, "github_pat_": 20, "glpat-": 16, "xoxa-": 10, "xoxb-": 10, "xoxe-": 10, "xoxp-": 10, "xoxr-": 10,
    "xoxs-": 10, "AKIA": 16, "ASIA": 16, "AIza": 20, "hf_": 20, "npm_": 20, "dop_v1_": 20, "shpat_": 20, "whsec_": 20,
    "SG.": 16, "eyJ": 20, "hr_": 20, "hrop_": 16, "hrcn_": 16,
}  # fmt: skip
_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)


class Step(NamedTuple):
    """Up to `end` a text is decided. It goes out as it is, or `guardrail` has tripped; `rest` is what then follows
    and belongs to it."""

    end: int
    guardrail: str | None = None
    mark: str = ""
    rest: re.Pattern[str] | None = None


class _Wait:
    """More of the text must be seen."""


WAIT = _Wait()
Decision = Step | _Wait | None


def opening(text: str) -> str:
    """A pattern for this beginning: all of it anywhere, or a part of it where the text ends."""
    head, rest = re.escape(text[0]), text[1:]
    return f"{head}(?:{opening(rest)}|\\Z)" if rest else head


@dataclass(frozen=True)
class KnownStrings:
    """Strings that must not go out: the deployment's secrets, a release's canaries. Never printed."""

    strings: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, strings: Iterable[str]) -> "KnownStrings":
        """Short ones are left out: they would be found in anything."""
        return cls(tuple(sorted({each for each in strings if len(each) >= SHORTEST_SECRET}, key=len, reverse=True)))

    @classmethod
    def of_environment(cls, variables: Mapping[str, str]) -> "KnownStrings":
        """The values of variables whose names say that they are secret."""
        return cls.of(value.strip() for name, value in variables.items() if _NAMES.search(name))

    def openings(self) -> list[str]:
        return [opening(each[:LONGEST_OPENING]) for each in self.strings]

    def first(self, text: str, start: int) -> int:
        """Where the first one begins, whole or cut off by the end of the text; -1 if none does."""
        found = [at for each in self.strings if (at := _first(each, text, start)) >= 0]
        return min(found, default=-1)

    def at(self, text: str, at: int, is_final: bool) -> Decision:
        for each in self.strings:
            if text.startswith(each, at):
                return Step(at + len(each), SECRETS, "[withheld]", _TOKEN)
        rest = text[at : at + len(self.strings[0])] if self.strings else ""
        is_begun = not is_final and len(rest) == len(text) - at and any(each.startswith(rest) for each in self.strings)
        return WAIT if is_begun else None


def _first(wanted: str, text: str, start: int) -> int:
    at = text.find(wanted, start)
    if at >= 0:
        return at
    at = text.find(wanted[0], max(start, len(text) - len(wanted) + 1))
    while at >= 0 and not wanted.startswith(text[at:]):
        at = text.find(wanted[0], at + 1)
    return at


class KeyShapes:
    """Keys and tokens of services, tokens (JWT), private keys."""

    def openings(self) -> list[str]:
        heads = sorted({each[:LONGEST_OPENING] for each in _SHAPES})
        return [f"(?<![A-Za-z0-9])(?:{'|'.join(map(opening, heads))})", opening("-----BEGIN")]

    def at(self, text: str, at: int, is_final: bool) -> Decision:
        if text.startswith("-", at):
            return _private_key(text, at, is_final)
        token = _token_at(text, at)
        reaches_end = at + len(token) == len(text) and not is_final and len(token) < LONG_ENOUGH
        for head, fewest in _SHAPES.items():
            if token.startswith(head):
                if reaches_end:
                    return WAIT
                tail = token[len(head) :].rstrip(".-")
                is_key = len(tail) >= fewest and _RANDOM.search(tail) is not None
                return Step(at + len(token), SECRETS, "[withheld]", _TOKEN) if is_key else None
            if reaches_end and head.startswith(token):
                return WAIT
        return None


def _token_at(text: str, at: int) -> str:
    found = _TOKEN.match(text, at, at + LONG_ENOUGH)
    return found[0] if found else ""


def _private_key(text: str, at: int, is_final: bool) -> Decision:
    """All of it is held back until its end is there."""
    head = _PRIVATE_KEY.match(text, at)
    if head is None:
        rest = text[at : at + _LONGEST_KEY_HEAD]
        is_begun = _PRIVATE_KEY_START.startswith(rest[: len(_PRIVATE_KEY_START)]) or rest.startswith(_PRIVATE_KEY_START)
        return WAIT if is_begun and len(rest) == len(text) - at and not is_final else None
    end = _PRIVATE_KEY_END.search(text, head.end())
    if end is None and len(text) - at > _LONGEST_KEY:
        return Step(len(text), SECRETS, "[withheld]", _KEY_BODY)
    if end is None and not is_final:
        return WAIT
    return Step(end.end() if end else len(text), SECRETS, "[withheld]")
