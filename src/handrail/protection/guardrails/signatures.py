"""Signatures: the phrases that attacks are made of, as data. A pattern is tried only if one of its words occurs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, cast

import yaml

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Signature:
    """One way of saying it. `alone` flags by itself; others add weight to the classifier's word."""

    name: str
    pattern: re.Pattern[str]
    alone: bool
    channel: str | None


class Signatures:
    """All of them, found by their anchor words."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._by_word: dict[str, list[Signature]] = {}
        self._by_sign: list[tuple[str, Signature]] = []
        for row in rows:
            pattern = re.compile(row["pattern"])
            signature = Signature(row["name"], pattern, row.get("alone", True), row.get("channel"))
            for anchor in cast(list[str], row["anchors"]):
                if len(anchor) == 1:
                    self._by_sign.append((anchor, signature))
                else:
                    self._by_word.setdefault(anchor, []).append(signature)

    def found(self, folded: str, channel: str) -> list[Signature]:
        """Those that occur, in order of name."""
        candidates = {each.name: each for sign, each in self._by_sign if sign in folded}
        for word in self._by_word.keys() & set(_WORD.findall(folded)):
            candidates.update((each.name, each) for each in self._by_word[word])
        return [
            each
            for _, each in sorted(candidates.items())
            if each.channel in (None, channel) and each.pattern.search(folded)
        ]


@lru_cache(maxsize=1)
def shipped_signatures() -> Signatures:
    text = files("handrail.protection.guardrails").joinpath("data/signatures.yaml").read_text(encoding="utf-8")
    return Signatures(yaml.safe_load(text))
