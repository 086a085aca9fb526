"""Reads the answer to a question the agent asked: yes or no, or which of the choices. Pure; English.

A wrong yes acts on something the user did not ask for, so only whole answers count: every word must belong to the
yes (or the no). Anything else is None, and the message is read as a new one.
"""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*", re.UNICODE)
_SYMBOLS = {"👍": "yes", "✅": "yes", "👌": "yes", "👎": "no", "❌": "no"}

# Longest first where one begins with another: the reader takes the first that fits.
_YES = (
    "yes", "yep", "yeah", "yea", "yup", "ya", "aye", "y", "ok", "okay", "k", "sure thing", "sure", "of course",
    "certainly", "definitely", "absolutely", "indeed", "correct", "exactly", "right", "true", "affirmative", "agreed",
    "confirmed", "confirm", "i confirm", "please do that", "please do it", "please do", "do that", "do it now", "do it",
    "go ahead",
    "go for it", "proceed", "by all means", "why not", "fine", "fine by me", "sounds good", "sounds right",
    "that's right", "that's correct", "that's it", "that is right", "that is correct", "that is it", "it is",
    "it's right", "i do", "i would", "i am", "you got it", "that works", "all right", "alright", "perfect", "great",
    "good", "yes i do", "i want that", "i'd like that", "that's what i want", "that is what i want",
    "that's what i meant", "that is what i meant",
)  # fmt: skip
_NO = (
    "no", "nope", "nah", "naw", "n", "never", "negative", "not that one", "not that", "not this", "not now", "not yet",
    "not really", "not at all", "not correct", "not right", "absolutely not", "definitely not", "certainly not",
    "of course not", "please don't", "please do not", "don't do that", "don't do it", "do not do that",
    "do not do it", "don't", "do not", "cancel that", "cancel it", "cancel", "stop", "abort", "forget it",
    "forget about it", "never mind", "nevermind", "wrong", "incorrect", "that's wrong", "that is wrong",
    "that's not it", "that is not it", "that's not right", "that is not right", "that's not what i want",
    "that is not what i want", "that's not what i meant", "that is not what i meant", "it's not", "it is not",
    "it isn't", "that isn't it", "that isn't right", "i don't", "i do not", "i'm not", "i am not", "i don't want that",
    "i do not want that", "none", "no way", "no thanks", "no thank you", "something else", "neither",
)  # fmt: skip
# Manners: they may stand around an answer and say nothing of their own.
_MANNERS = (
    "please", "thanks", "thank you", "thank you very much", "thanks a lot", "many thanks", "cheers", "kindly", "well",
    "oh", "um", "uh", "hm", "hmm", "then",
)  # fmt: skip
_LONGEST_ANSWER = 8

_ORDINALS = {
    "1": 0, "one": 0, "first": 0, "1st": 0, "former": 0, "a": 0,
    "2": 1, "two": 1, "second": 1, "2nd": 1, "latter": 1, "b": 1,
    "3": 2, "three": 2, "third": 2, "3rd": 2, "c": 2,
}  # fmt: skip
# "that one" and "a return" are no numbers; "option a" and "number one" are.
_ALSO_ARTICLES = frozenset({"one", "a"})
_COUNTED = frozenset({"number", "option", "choice", "answer"})
_AROUND_ORDINAL = frozenset({
    "the", "option", "number", "choice", "please", "thanks", "thank", "you", "i", "i'd", "i'll", "want", "would",
    "like", "to", "take", "pick", "choose", "prefer", "mean", "meant", "it's", "it", "is", "that", "that's", "go",
    "with", "um", "well", "yes", "answer",
})  # fmt: skip
_EMPTY = frozenset({
    "a", "an", "the", "to", "of", "for", "and", "or", "my", "your", "our", "me", "i", "i'd", "you", "it", "its", "is",
    "are", "was", "be", "been", "do", "does", "did", "can", "could", "would", "will", "want", "need", "like", "please",
    "about", "with", "on", "in", "at", "from", "what", "where", "when", "which", "how", "why", "that", "this", "thing",
})  # fmt: skip
_NOT = frozenset({"not", "no", "don't", "neither", "nor", "never", "isn't", "none", "without", "except", "nothing"})


def parse_yes_no(text: str) -> bool | None:
    """True for a plain yes, False for a plain no, None for everything that says more or both."""
    words = _words(text)
    if not words or len(words) > _LONGEST_ANSWER or "?" in text:
        return None
    yes, no = _consists_of(words, _YES_PHRASES), _consists_of(words, _NO_PHRASES)
    return yes if yes != no else None


def parse_choice(text: str, titles: Sequence[str]) -> int | None:
    """Which of the offered titles the answer means: by number or order, or by words only one title has."""
    words = _words(text)
    if not words or _NOT & set(words):
        return None
    by_place = _place(words, len(titles))
    if by_place is not None:
        return by_place
    said = {_stem(word) for word in words} - _EMPTY
    named = [{_stem(word) for word in _words(title)} - _EMPTY for title in titles]
    scores = [len(said & own) for own in named]
    best = max(scores, default=0)
    if best == 0 or scores.count(best) != 1:
        return None
    winner = scores.index(best)
    # A longer sentence may name a choice in passing; it counts when the title is most of what was said.
    return winner if best * 2 >= len(said) else None


def _words(text: str) -> list[str]:
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, f" {word} ")
    return _WORD.findall(text.lower().replace("\u2019", "'"))


def _phrases(*groups: Sequence[str]) -> list[tuple[str, ...]]:
    return sorted(
        {tuple(phrase.split()) for group in groups for phrase in group}, key=lambda words: (-len(words), words)
    )


_PLAIN_MANNERS = frozenset(_phrases(_MANNERS))
_YES_PHRASES = _phrases(_YES, _MANNERS)
_NO_PHRASES = _phrases(_NO, _MANNERS)


def _consists_of(words: Sequence[str], phrases: Sequence[tuple[str, ...]]) -> bool:
    """Whether the words are these phrases end to end, at least one of them more than manners."""
    meant = False
    place = 0
    while place < len(words):
        fitting = next((phrase for phrase in phrases if tuple(words[place : place + len(phrase)]) == phrase), None)
        if fitting is None:
            return False
        meant = meant or fitting not in _PLAIN_MANNERS
        place += len(fitting)
    return meant


def _place(words: Sequence[str], count: int) -> int | None:
    before = ("", *words)
    places = {
        _ORDINALS[word]
        for previous, word in zip(before, words, strict=False)
        if word in _ORDINALS and (word not in _ALSO_ARTICLES or len(words) == 1 or previous in _COUNTED)
    }
    if "last" in words:
        places.add(count - 1)
    rest = [word for word in words if word not in _ORDINALS and word != "last" and word not in _AROUND_ORDINAL]
    if len(places) != 1 or rest:
        return None
    place = places.pop()
    return place if 0 <= place < count else None


def _stem(word: str) -> str:
    """Plurals and possessives off: enough to match a title's words."""
    word = word.removesuffix("'s")
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
