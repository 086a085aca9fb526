"""The knowledge of an agent project: its passages, the ones that fit a question, and the sentences that answer it.

A passage is a section of a Markdown file. Its author may write down questions it answers, one a line, in a comment
under the heading; readers don't see them, and a user's question is compared with them too:

    ## Return window

    <!-- asked:
    how long do I have to return something
    -->

A score between 0 and 1 weighs two shares: how near the passage comes in meaning, by embeddings that are handed in,
and how much of the question's rarer words it holds. Without embeddings the words alone decide, and fewer questions
find an answer.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from handrail.core.messages import Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], "NDArray[np.float32]"]

# Chosen on about a hundred questions to the shop's knowledge and two dozen that it can't answer.
FITS = 0.42
_WORDS_SHARE = 0.35
_TITLE_COUNTS = 2
_SATURATION = 0.6
_LONGEST_PASSAGE = 700
_LONGEST_ANSWER = 3

_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_ASKED = re.compile(r"<!--\s*asked:(.*?)-->", re.DOTALL | re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LIST_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+]|\d+\.)[ \t])")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9€$£])|\n+")
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_SUFFIXES = ("ing", "ed", "es", "s", "e")
_STOPWORDS = frozenset(
    """a about all am an and any are as at be been but by can could did do does doing for from get go got had has have
    having hello hey hi how i i'd i'll i'm i've if in into is it it's its just let like me my need no not of off on or
    our out over please really should so some tell than thank thanks that that's the their them then there these
    they this those to too u up us very want was we were what what's when where which who why will with would you your
    yours""".split()  # noqa: SIM905 - as a list it would be a hundred lines
)


@dataclass(frozen=True, slots=True)
class Section:
    """A passage and the questions its author says it answers."""

    passage: Passage
    asked: tuple[str, ...] = ()


class Knowledge:
    """All passages of one release, indexed once and then only read."""

    def __init__(self, sections: Sequence[Section], embed: Embed | None = None) -> None:
        self.passages = tuple(section.passage for section in sections)
        self._files = [_file(passage) for passage in self.passages]
        self._words = _WordIndex(sections)
        self._meaning = _MeaningIndex(sections, embed) if embed is not None and sections else None

    @classmethod
    def build(cls, files: Mapping[str, str], embed: Embed | None = None) -> "Knowledge":
        """`files` maps paths such as `knowledge/returns.md` to their Markdown text."""
        return cls([section for file in sorted(files) for section in split(file, files[file])], embed)

    def marked(self, is_suspicious: Callable[[str], bool]) -> Sequence[Passage]:
        """Mark the passages that a guardrail flags, before anybody searches; returns those."""
        self.passages = tuple(replace(each, is_suspicious=is_suspicious(each.text)) for each in self.passages)
        return [each for each in self.passages if each.is_suspicious]

    def search(self, query: str, source: str | None = None, limit: int = 4) -> tuple[Passage, ...]:
        """The passages nearest to `query`, best first; only those of the file `source` when it is given."""
        if not self.passages:
            return ()
        scores = self._words.scores(query)
        if self._meaning is not None:
            near = self._meaning.scores(query)
            scores = [
                _WORDS_SHARE * word + (1 - _WORDS_SHARE) * meaning for word, meaning in zip(scores, near, strict=True)
            ]
        places = [at for at, file in enumerate(self._files) if scores[at] > 0 and source in (None, file)]
        places.sort(key=lambda at: (-scores[at], at))
        return tuple(replace(self.passages[at], score=round(scores[at], 4)) for at in places[:limit])


def extract(query: str, passages: Sequence[Passage]) -> Passage | None:
    """The best passage cut to the one to three sentences that answer `query`; None when none fits well enough."""
    if not passages:
        return None
    best = max(passages, key=lambda passage: passage.score)
    if best.score < FITS:
        return None
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(best.text) if sentence.strip()]
    asked = set(_words(query))
    starts = range(max(1, len(sentences) - _LONGEST_ANSWER + 1))
    start = max(starts, key=lambda at: (_overlap(asked, sentences[at : at + _LONGEST_ANSWER]), -at))
    return replace(best, text=" ".join(sentences[start : start + _LONGEST_ANSWER]))


def split(file: str, text: str) -> Iterator[Section]:
    """The sections of a Markdown file, long ones cut between paragraphs."""
    title = path = file.rpartition("/")[2].removesuffix(".md").replace("_", " ").capitalize()
    source, at = file, 0
    for heading in [*_HEADING.finditer(text), None]:
        yield from _sections(source, path, text[at : heading.start() if heading else len(text)])
        if heading is None:
            return
        at, name = heading.end(), heading[2]
        if len(heading[1]) == 1:
            title = path = name
            source = file
        else:
            path, source = f"{title}: {name}", f"{file}#{name}"


def _sections(source: str, title: str, body: str) -> Iterator[Section]:
    asked = tuple(line.strip() for block in _ASKED.findall(body) for line in str(block).splitlines() if line.strip())
    paragraphs = [_unwrapped(paragraph) for paragraph in re.split(r"\n\s*\n", _COMMENT.sub("", body))]
    piece = ""
    for paragraph in filter(None, paragraphs):
        if piece and len(piece) + len(paragraph) > _LONGEST_PASSAGE:
            yield Section(Passage(source, title, piece), asked)
            piece = ""
        piece = f"{piece}\n{paragraph}" if piece else paragraph
    if piece:
        yield Section(Passage(source, title, piece), asked)


class _WordIndex:
    """How much of a question's rarer words each passage holds."""

    def __init__(self, sections: Sequence[Section]) -> None:
        counts = [_counts(section) for section in sections]
        self._size = len(sections)
        self._postings: dict[str, dict[int, float]] = {}
        for at, words in enumerate(counts):
            for word, count in words.items():
                self._postings.setdefault(word, {})[at] = count / (count + _SATURATION)

    def scores(self, query: str) -> list[float]:
        scores = [0.0] * self._size
        total = 0.0
        for word in set(_words(query)):
            places = self._postings.get(word, {})
            # A word the knowledge does not have weighs most: what it asks about is not there.
            weight = math.log(1 + (self._size - len(places) + 0.5) / (len(places) + 0.5))
            total += weight
            for at, share in places.items():
                scores[at] += weight * share
        return [score / total for score in scores] if total else scores


class _MeaningIndex:
    """How near the nearest sentence or noted question of each passage comes to a question."""

    def __init__(self, sections: Sequence[Section], embed: Embed) -> None:
        import numpy as np

        texts: list[str] = []
        starts: list[int] = []
        for section in sections:
            starts.append(len(texts))
            heading = section.passage.title.rpartition(": ")[2]
            sentences = filter(None, _SENTENCE_END.split(section.passage.text))
            texts += [section.passage.title, *(f"{heading}. {sentence}" for sentence in sentences), *section.asked]
        self._embed = embed
        self._vectors = np.asarray(embed([text.lower() for text in texts]), dtype=np.float32)
        self._starts = np.asarray(starts)
        self._highest = np.maximum.reduceat

    def scores(self, query: str) -> list[float]:
        near = self._vectors @ self._embed([query.lower()])[0]
        return self._highest(near, self._starts).clip(0.0, 1.0).tolist()


def _counts(section: Section) -> Counter[str]:
    title, _, heading = section.passage.title.rpartition(": ")
    counts = Counter(_words(section.passage.text))
    counts.update(dict.fromkeys(_words(heading), _TITLE_COUNTS))
    counts.update(set(_words(" ".join((title, *section.asked)))))
    return counts


def _words(text: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(text.lower().replace("’", "'")) if word not in _STOPWORDS]


def _stem(word: str) -> str:
    """Enough to let return, returns, returned and returning meet; not a linguist's stem."""
    word = word.removesuffix("'s")
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word.removesuffix(suffix)
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return f"{word[:-1]}y" if word.endswith("i") else word


def _overlap(asked: set[str], sentences: Sequence[str]) -> int:
    return len(asked & {word for sentence in sentences for word in _words(sentence)})


def _unwrapped(paragraph: str) -> str:
    items = (" ".join(item.split()) for item in _LIST_ITEM.split(paragraph))
    return "\n".join(item for item in items if item)


def _file(passage: Passage) -> str:
    return passage.source.partition("#")[0]
