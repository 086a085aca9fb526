"""Labelled chats of people: customers' turns of MultiDoGO, split by conversation; and queries without personal data."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from handrail.protection.privacy.spans import Kind
from scripts.personal_data.generate import Message

KINDS = {
    "name": Kind.PERSON,
    "ssn": Kind.SSN,
    "card_number": Kind.CARD,
    "account_number": Kind.ACCOUNT,
    "target_account_number": Kind.ACCOUNT,
    "email_address": Kind.EMAIL,
    "phone_number": Kind.PHONE,
    "address": Kind.ADDRESS,
    "password": Kind.PASSWORD,
}
PARTS = 3
# Each part of the conversations by a checksum of their id: two are for fitting, one for the figures.
TEST_PART = 2


def chats(folder: Path, *, test: bool) -> list[tuple[str, Message]]:
    """(conversation, customer's turn). `asked` is what the customer wrote before: these chats lack their agent."""
    found: list[tuple[str, Message]] = []
    for path in sorted(folder.glob("*.jsonl")):
        before: tuple[str, str] | None = None
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            conversation, text = row["conversation"], row["text"]
            previous = before[1] if before and before[0] == conversation else None
            before = conversation, text
            if (zlib.crc32(conversation.encode()) % PARTS == TEST_PART) is test and (spans := _spans(row)) is not None:
                found.append((conversation, Message(text, previous, tuple(spans))))
    return found


def _spans(row: dict[str, str | None]) -> list[tuple[int, int, Kind]] | None:
    """Neighbouring words of one slot as one span; nothing when words and slots do not fit."""
    words, slots = (row["text"] or "").split(" "), (row["slots"] or "").split(" ")
    if len(words) != len(slots):
        return None
    found: list[tuple[int, int, Kind]] = []
    at, last = 0, ""
    for word, slot in zip(words, slots, strict=True):
        kind = KINDS.get(slot)
        if kind and slot == last:
            found[-1] = found[-1][0], at + len(word), kind
        elif kind:
            found.append((at, at + len(word), kind))
        at, last = at + len(word) + 1, slot
    return found


def queries(path: Path) -> Iterator[Message]:
    """Rows of {"text"} that hold nothing personal."""
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        yield Message(row["text"], None, ())
