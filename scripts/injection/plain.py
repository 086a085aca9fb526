"""Choose the words of the cheap gate and write them: python -m scripts.injection.plain DATA_FOLDER HARMLESS.jsonl...

DATA_FOLDER holds `train.jsonl` as for the fit; HARMLESS are messages of customers, {"text"} a line. The same data gives
the same bytes. It prints, each time without the source in question, how many harmless messages the gate lets through
and how many short sentences of attacks that the detector flags it would miss.
"""

import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from handrail.protection.guardrails.detector import Detector
from handrail.protection.guardrails.normalise import fold
from handrail.protection.guardrails.plain import MOST_CHARACTERS, PlainWords
from handrail.protection.guardrails.segments import segments
from scripts.injection.grammar import Grammar
from scripts.injection.rows import read_rows

SEED = 0
# A word is everyday when so many messages have it, and attacks at most so many times more often.
FEWEST_MESSAGES = 3
MOST_TIMES = 5.0
GENERATED = 3000
_WORD = re.compile(r"[a-z]+")

Sources = Mapping[str, Sequence[str]]


def chosen(harmless: Iterable[str], attacks: Iterable[str]) -> PlainWords:
    plain, hostile = _shares(harmless, FEWEST_MESSAGES), _shares(attacks, 1)
    everyday = {word for word, share in plain.items() if hostile.get(word, 0.0) <= MOST_TIMES * share}
    return PlainWords.of(sorted(everyday), sorted(hostile.keys() - everyday))


def _shares(texts: Iterable[str], fewest: int) -> dict[str, float]:
    found = [set(_WORD.findall(each)) for each in texts]
    counts = Counter(word for words in found for word in words)
    return {word: count / len(found) for word, count in counts.items() if count >= fewest}


def attack_sentences(path: Path) -> dict[str, list[str]]:
    """By source, what the detector flags of the short sentences of attacks; a sentence counts once."""
    detector, found, seen = Detector(plain=None), defaultdict[str, list[str]](list), set[str]()
    texts = [(each.source, each.text) for each in read_rows(path) if each.label == 1]
    texts += [("generated", each) for each in Grammar("attacks").texts("user", GENERATED, random.Random(SEED))]
    for source, text in texts:
        for piece in (text, *segments(text)):
            folded = fold(piece)
            if len(piece) <= MOST_CHARACTERS and folded not in seen and detector.scan(piece, "user").flagged:
                found[source].append(folded)
            seen.add(folded)
    return dict(found)


def _all_but(sources: Sources, left_out: str) -> list[str]:
    return [text for name, texts in sources.items() if name != left_out for text in texts]


def main() -> None:
    folder, *paths = map(Path, sys.argv[1:])
    harmless = {
        str(path): [fold(json.loads(line)["text"]) for line in path.open(encoding="utf-8")] for path in sorted(paths)
    }
    attacks = attack_sentences(folder / "train.jsonl")
    for name, texts in harmless.items():
        words = chosen(_all_but(harmless, name), _all_but(attacks, ""))
        print(f"{name}: {sum(map(words.is_plain, texts))} of {len(texts)} let through")
    for name, texts in attacks.items():
        words = chosen(_all_but(harmless, ""), _all_but(attacks, name))
        missed = [text for text in texts if words.is_plain(text)]
        print(f"{name}: {len(missed)} of {len(texts)} missed {missed[:5]}")
    path = Path(str(files("handrail.protection.guardrails"))) / "data" / "plain_words.npz"
    path.write_bytes(chosen(_all_but(harmless, ""), _all_but(attacks, "")).dump())
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
