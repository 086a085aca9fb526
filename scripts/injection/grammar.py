"""Texts from a grammar: lists of templates whose words in braces stand for other lists. Seeded."""

import random
import re
from pathlib import Path
from typing import cast

import yaml

FOLDER = Path(__file__).parent
_SLOT = re.compile(r"\{(\w+)\}")
# Templates call one another; what is still open after so many steps is left as it is.
_MOST_STEPS = 60


class Grammar:
    """One of the YAML files beside this module."""

    def __init__(self, name: str) -> None:
        text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        self._lists = cast(dict[str, list[str]], yaml.safe_load(text))

    def texts(self, root: str, count: int, rng: random.Random) -> list[str]:
        return [_vary(self._text(root, rng), rng) for _ in range(count)]

    def _text(self, root: str, rng: random.Random) -> str:
        text = rng.choice(self._lists[root])
        for _ in range(_MOST_STEPS):
            slot = _SLOT.search(text)
            if slot is None:
                break
            text = text[: slot.start()] + rng.choice(self._lists.get(slot[1], ["("])) + text[slot.end() :]
        return text


def _vary(text: str, rng: random.Random) -> str:
    """As people type: lower case, capitals, no full stop, two letters swapped."""
    case = rng.random()
    if case < 0.25:
        text = text.lower()
    elif case < 0.3:
        text = text.upper()
    if rng.random() < 0.25:
        text = text.rstrip(".!?")
    if rng.random() < 0.15 and len(text) > 20:
        at = rng.randrange(len(text) - 1)
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text
