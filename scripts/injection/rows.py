"""The labelled texts a channel's heads are fitted on: the corpus, and what the grammars make."""

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handrail.protection.guardrails.head import Channel
from handrail.protection.guardrails.segments import segments
from scripts.injection.grammar import Grammar

_WORD = re.compile(r"\w+")
_LONG_DOCUMENTS = ("tau2_bank_doc", "bipia_train_clean")
GENERATED_WEIGHT = 0.5
OTHER_CHANNEL_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Row:
    """A text of the corpus; label 1 is an attack."""

    text: str
    label: int
    channel: str
    source: str


@dataclass(frozen=True, slots=True)
class Example:
    """A text to fit on, and how much it counts."""

    text: str
    label: int
    weight: float = GENERATED_WEIGHT


def read_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [Row(each["text"], each["label"], each["channel"], each["source"]) for each in found]


def examples(channel: Channel, rows: Sequence[Row], seed: int) -> list[Example]:
    rng = random.Random(seed)
    return _user_examples(rows, rng) if channel == "user" else _tool_examples(rows, rng)


def held_lookalikes(count: int, seed: int) -> list[str]:
    """Harmless look-alikes from templates that nothing is fitted on."""
    return sorted(set(Grammar("benign").texts("held", count, random.Random(seed))))


def _user_examples(rows: Sequence[Row], rng: random.Random) -> list[Example]:
    attacks, benign = Grammar("attacks"), Grammar("benign")
    made = [Example(each.text, each.label, 1.0) for each in rows if each.channel == "user"]
    made += [Example(text, 1) for text in attacks.texts("user", 3000, rng)]
    made += [Example(text, 0) for text in benign.texts("user", 4500, rng)]
    # Long harmless texts, or else length would tell an attack.
    documents = [each.text for each in rows if each.source in _LONG_DOCUMENTS and not each.label]
    made += [Example(text, 0) for text in [*documents, *(each[:300] for each in documents)]]
    sentences = benign.texts("user", 2400, rng)
    made += [Example(" ".join(sentences[at : at + rng.randint(2, 8)]), 0) for at in range(0, 2000, 4)]
    paragraphs = benign.texts("tool", 600, rng)
    return made + [Example(" ".join(paragraphs[at : at + 4]), 0) for at in range(0, 600, 4)]


def _tool_examples(rows: Sequence[Row], rng: random.Random) -> list[Example]:
    """Pieces, not whole texts: in a tool's result the attack is a sentence among many."""
    own = [each for each in rows if each.channel == "tool"]
    clean = sorted({piece for each in own if not each.label for piece in segments(each.text)})
    made = [Example(piece, 0, 1.0) for piece in clean]
    made += [Example(piece, 1, 1.0) for piece in _attacking(own, clean)]
    made += [Example(text, 1) for text in Grammar("attacks").texts("tool", 5000, rng)]
    documents = Grammar("benign").texts("tool", 5000, rng)
    made += [Example(piece, 0) for text in documents for piece in segments(text)]
    users = [each for each in rows if each.channel == "user" and (not each.label or len(each.text) < 400)]
    return made + [Example(each.text, each.label, OTHER_CHANNEL_WEIGHT) for each in users]


def _attacking(rows: Sequence[Row], clean: Sequence[str]) -> list[str]:
    """The pieces of attacked texts that are the attack: seldom, and not made of the words of a harmless piece."""
    counts = Counter(piece for each in rows if each.label for piece in segments(each.text))
    known = [set(_WORD.findall(piece.lower())) for piece in clean]
    found: list[str] = []
    for piece, count in counts.items():
        words = set(_WORD.findall(piece.lower()))
        if count <= 6 and words and not any(len(words & each) >= 0.7 * len(words) for each in known):
            found.append(piece)
    return found
