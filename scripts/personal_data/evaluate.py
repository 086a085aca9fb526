"""Measure the shipped detector on what it was not fitted on: python -m scripts.personal_data.evaluate DATA_FOLDER

Prints the table of docs/reference/privacy.md. DATA_FOLDER holds `dialogues/multidogo/*.jsonl`,
`pii/support_synthetic.jsonl` and `pii/presidio_research_synth_v2.jsonl`.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from handrail.core.share import Share
from handrail.protection.privacy import Kind, find_personal_data
from handrail.protection.privacy.cues import cue_of_question
from handrail.protection.privacy.detector import worth_tagging
from handrail.protection.privacy.evaluation import Row, evaluate
from handrail.protection.privacy.folding import fold
from scripts.personal_data.rows import chats

STRUCTURED = frozenset({"CARD", "IBAN", "SSN", "EMAIL", "PHONE", "IP", "API_KEY"})
AS_OURS = {
    **{kind.value: kind.value for kind in Kind},
    "STREET_ADDRESS": "ADDRESS",
    "CREDIT_CARD": "CARD",
    "US_SSN": "SSN",
    "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL",
    "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP",
}


def labelled(path: Path) -> Iterator[Row]:
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        spans = tuple((start, end, AS_OURS[kind]) for start, end, kind in row["spans"] if kind in AS_OURS)
        yield Row(row["text"], row.get("previous"), spans)


def line(name: str, rows: Sequence[Row]) -> str:
    found = evaluate(find_personal_data, rows)
    kinds = ", ".join(f"{kind} {_share(recall)}" for kind, (recall, _) in found.kinds.items() if recall.n)
    return f"| {name} | {found.recall} | {found.precision} | {found.clean_flagged} | {kinds} |"


def _share(share: Share) -> str:
    return f"{share.count / share.n:.3f}".removeprefix("0")


def main() -> None:
    folder = Path(sys.argv[1])
    chat = [Row(each.text, None, each.spans) for _, each in chats(folder / "dialogues/multidogo", test=True)]
    support = list(labelled(folder / "pii/support_synthetic.jsonl"))
    structured = [replace(row, labels=tuple(each for each in row.labels if each[2] in STRUCTURED)) for row in support]
    print("| text | recall | precision | clean rows flagged | recall by type |\n|---|---|---|---|---|")
    print(line("messy chat (MultiDoGO, other conversations)", chat))
    print(line("support messages", support))
    print(line("support messages, structured types", structured))
    print(line("presidio-research", list(labelled(folder / "pii/presidio_research_synth_v2.jsonl"))))
    shut = [row for row in chat if not worth_tagging(fold(row.text)[0], cue_of_question(row.previous))]
    missed = sum(len(row.labels) for row in shut)
    print(f"\ngate: {len(shut)} of {len(chat)} chats go past the tagger; {missed} labelled spans are in them")
    long = [Row(" ".join(row.text for row in chat[at : at + 40])[:200]) for at in range(len(chat) - 40)]
    timed = evaluate(find_personal_data, long)
    print(f"200 characters: {timed.p50_ms:.2f} ms p50, {timed.p95_ms:.2f} ms p95")


if __name__ == "__main__":
    main()
