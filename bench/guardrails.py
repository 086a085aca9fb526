"""What the output guardrails do to texts that are right, and to claims that are not: python -m bench.guardrails DATA

DATA holds `dialogues/`, `intents/` and `tau2/banking_knowledge/` as JSON Lines of {"text"} or {"content"}. It prints
how many harmless messages the default policy changes, and how grounding tells a document's own claims from others. The
same data gives the same figures.
"""

import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from handrail.core.share import Share
from handrail.protection.guardrails import OutputFilter, OutputGuardrail, OutputScanner
from handrail.protection.guardrails.grounding import claims_of, ground
from handrail.protection.guardrails.schema import OutputPolicy

SEED = 3
SENTENCES_A_DOCUMENT = 4
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_LOOKED_UP = ("number", "date", "id")


def texts_of(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                text = row.get("text") or row.get("content")
                if isinstance(text, str):
                    yield text


def changed(texts: Sequence[str]) -> Share:
    """How many harmless texts do not go out as they are under the default policy, with no domain listed."""
    scanner, guardrail = OutputScanner(), OutputGuardrail(OutputPolicy())

    def goes_out(text: str) -> str:
        output = OutputFilter(scanner, [guardrail], is_generated=False)
        return output.feed(text) + output.close()

    return Share.of(goes_out(text) != text for text in texts)


def grounding(documents: Sequence[str]) -> dict[str, Share]:
    """Claims that are called unsupported: a document's own, with every number changed, and of another document."""
    rng = random.Random(SEED)
    own, altered, others = list[bool](), list[bool](), list[bool]()
    for document in documents:
        sentences = _sentences(document)
        for sentence in rng.sample(sentences, min(SENTENCES_A_DOCUMENT, len(sentences))):
            own += _unsupported(sentence, document)
            other = re.sub(r"\d+", lambda found: str(int(found[0]) + rng.randint(11, 97)), sentence)
            if other != sentence:
                altered += _unsupported(other, document, _LOOKED_UP)
        elsewhere = _sentences(rng.choice(documents))
        others += _unsupported(rng.choice(elsewhere), document) if elsewhere else []
    shares = {"own": own, "numbers changed": altered, "of any document": others}
    return {name: Share.of(marks) for name, marks in shares.items()}


def _sentences(document: str) -> list[str]:
    return [each for each in _SENTENCE.split(document) if 20 < len(each) < 300]


def _unsupported(sentence: str, document: str, kinds: Sequence[str] | None = None) -> list[bool]:
    found = ground(sentence, [document]).unsupported
    made = [each.kind for each in claims_of(sentence) if kinds is None or each.kind in kinds]
    missing = sum(kinds is None or each in kinds for each in found)
    return [True] * missing + [False] * (len(made) - missing)


def main() -> None:
    data = Path(sys.argv[1])
    if not (data / "dialogues").is_dir():
        sys.exit(f"{data} has no folder dialogues/; name the folder with dialogues/, intents/ and tau2/")
    harmless = [*texts_of(data / "dialogues"), *texts_of(data / "intents"), *texts_of(data / "tau2")]
    print(f"harmless texts changed       {changed(harmless)}")
    for name, share in grounding(list(texts_of(data / "tau2" / "banking_knowledge"))).items():
        print(f"claims unsupported, {name:16} {share}")


if __name__ == "__main__":
    main()
