"""Where identifiers stand in texts that are read again and again: a conversation's history comes with every call."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence

from handrail.protection.privacy.cues import MOST_QUESTION
from handrail.protection.privacy.detector import find_structured, of_people
from handrail.protection.privacy.spans import Span

MOST_TEXTS = 4096
# Nothing that has a form of its own is shorter, but the last digits of a number that was asked for.
_SHORTEST = 4
# Looking a digest up costs as much as reading so many characters.
_SHORT = 8
# What a question asks for matters to numbers alone.
_DIGIT = re.compile(r"\d")


class Finder:
    """`find_structured` that reads each text once. It keeps digests and places, never a text."""

    def __init__(self, most: int = MOST_TEXTS) -> None:
        self._most = most
        self._known: OrderedDict[bytes, Sequence[Span]] = OrderedDict()

    def find(self, text: str, previous: str | None = None) -> Sequence[Span]:
        if len(text) < _SHORTEST:
            return ()
        question = previous[-MOST_QUESTION:] if previous and _DIGIT.search(text) else ""
        if len(text) + len(question) <= _SHORT:
            return find_structured(text, question)
        key = hashlib.blake2b(f"{question}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = tuple(find_structured(text, question))
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return found

    def personal_in(self, text: str) -> list[str]:
        """What tells of a person and has a form of its own, as it is written: for answers, which are no chat."""
        return [text[span.start : span.end] for span in of_people(self.find(text))]
