"""Whether what was searched for stands in a conversation, and what is around it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from handrail.insight.search.query import Query
from handrail.insight.search.words import Word, words_in

# Characters of a text that are shown, and how many of them come before what was found.
SHOWN, BEFORE = 200, 60


class Part(NamedTuple):
    """A piece of a text; `is_found` when it is what was searched for."""

    text: str
    is_found: bool = False


def first_match(texts: Sequence[str], query: Query) -> Sequence[Part] | None:
    """The text around the first place where something of the query stands; None unless all of it is there."""
    missing, phrases = set(query.plain), set(query.phrases)
    shown: Sequence[Part] | None = None
    for text in texts:
        if not missing and not phrases and shown is not None:
            break
        words = list(words_in(text))
        said = {word.text for word in words}
        places = [place for phrase in query.phrases for place in _phrase(words, phrase)]
        found_phrases = {phrase for phrase in phrases if next(iter(_phrase(words, phrase)), None)}
        marked = [(word.start, word.end) for word in words if word.text in query.plain]
        missing -= said
        phrases -= found_phrases
        if shown is None and (places or marked):
            shown = around(text, places or marked, [*places, *marked])
    return None if missing or phrases else shown


def around(text: str, at: Sequence[tuple[int, int]], marked: Iterable[tuple[int, int]]) -> Sequence[Part]:
    """The text around the first of some places, with what is found in it told apart."""
    first = min(at)
    start = max(0, first[0] - BEFORE)
    # Not in the middle of a word.
    if start and (blank := text.find(" ", start, first[0])) >= 0:
        start = blank + 1
    end = min(len(text), start + SHOWN)
    if end < len(text) and (blank := text.rfind(" ", first[1], end)) >= 0:
        end = blank
    parts = [Part("... ")] if start else []
    parts += _parts(text, start, end, _merged(marked))
    return [*parts, Part(" ...")] if end < len(text) else parts


def _parts(text: str, start: int, end: int, marked: Iterable[tuple[int, int]]) -> Iterable[Part]:
    at = start
    for begins, ends in marked:
        begins, ends = max(begins, start), min(ends, end)
        if begins >= ends:
            continue
        if at < begins:
            yield Part(text[at:begins])
        yield Part(text[begins:ends], is_found=True)
        at = ends
    if at < end:
        yield Part(text[at:end])


def _merged(places: Iterable[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """In their order, those that touch or overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _phrase(words: Sequence[Word], phrase: tuple[str, ...]) -> Iterable[tuple[int, int]]:
    """Where these words follow one another."""
    for place in range(len(words) - len(phrase) + 1):
        if all(words[place + number].text == word for number, word in enumerate(phrase)):
            yield words[place].start, words[place + len(phrase) - 1].end
