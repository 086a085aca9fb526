"""Whether a text repeats the agent's instructions: runs of words that stand in both."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

RUN = 10
# Every run of ten holds a run of six that begins at a fifth word: looking at those alone costs a fifth.
_SHORT, _STRIDE = 6, 5
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Instructions:
    """The instructions as hashes of their runs of words; what the project says to users itself is left out."""

    runs: frozenset[int] = frozenset()
    short: frozenset[int] = frozenset()

    @classmethod
    def of(cls, text: str, said_to_users: Iterable[str] = ()) -> "Instructions":
        public = {run for each in said_to_users for run in _runs(_words(each), RUN)}
        words = _words(text)
        return cls(frozenset(set(_runs(words, RUN)) - public), frozenset(_runs(words, _SHORT)))

    def overlap(self, text: str) -> bool:
        """Ten words in a row of the text stand in the instructions too."""
        if not self.runs:
            return False
        words = _words(text)
        if self.short.isdisjoint(_runs(words, _SHORT, _STRIDE)):
            return False
        return not self.runs.isdisjoint(_runs(words, RUN))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _runs(words: list[str], size: int, stride: int = 1) -> Iterator[int]:
    return (hash(tuple(words[at : at + size])) for at in range(0, len(words) - size + 1, stride))
