"""Content filters: which categories of a word list, or of payment data, a text falls into.

One pass over the words of the folded text: a word that begins no phrase costs one look-up.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import cast

import yaml

from handrail.protection.guardrails.normalise import fold, unmasked

# Found by its check digit and not by words.
PAYMENT_DATA = "payment_data"
_WORD = re.compile(r"[^\W_]+")
_CARD = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w-])")

Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WordList:
    """Phrases by their first word, each with its category."""

    phrases: Mapping[str, tuple[tuple[Phrase, str], ...]]

    @classmethod
    def of(cls, lists: Mapping[str, Iterable[str]], without: Iterable[str] = ()) -> "WordList":
        left_out = {phrase_of(each) for each in without}
        found: dict[str, list[tuple[Phrase, str]]] = {}
        for category, texts in lists.items():
            for text in texts:
                phrase = phrase_of(text)
                if phrase and phrase not in left_out:
                    found.setdefault(phrase[0], []).append((phrase, category))
        return cls({first: tuple(rest) for first, rest in found.items()})

    def categories(self, folded: str) -> set[str]:
        words = _WORD.findall(folded)
        if self.phrases.keys().isdisjoint(words):
            return set()
        return {
            category
            for at, word in enumerate(words)
            for phrase, category in self.phrases.get(word, ())
            if tuple(words[at : at + len(phrase)]) == phrase
        }


def phrase_of(text: str) -> Phrase:
    return tuple(_WORD.findall(fold(text)))


@lru_cache(maxsize=1)
def shipped_words() -> Mapping[str, list[str]]:
    """The lists that come with Handrail."""
    text = files("handrail.protection.guardrails").joinpath("data/content.yaml").read_text(encoding="utf-8")
    return cast(Mapping[str, list[str]], yaml.safe_load(text))


def categories_of(folded: str, words: WordList) -> set[str]:
    """What the text is about, of what filters look for; also when it is written in disguise."""
    found = words.categories(folded)
    plain = unmasked(folded)
    if plain is not None:
        found |= words.categories(plain)
    if any(_is_card(each[0]) for each in _CARD.finditer(folded)):
        found.add(PAYMENT_DATA)
    return found


def _is_card(written: str) -> bool:
    """Thirteen to nineteen digits with a card's first digit whose check digit is right."""
    digits = [int(each) for each in written if each.isdecimal()]
    doubled = [2 * each - 9 * (each > 4) for each in digits[-2::-2]]
    return digits[0] in (2, 3, 4, 5, 6) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
