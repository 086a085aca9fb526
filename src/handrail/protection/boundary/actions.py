"""Which action a user's words ask for. Pure; English, and strict: what only might be a request is none.

A question about refunds is no request for one, nor is a report that one is late. Whoever doubts asks the user, and a
yes to a question that names the action counts.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from handrail.protection.boundary.words import MOST_CHARACTERS, fold, words

_NAME_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_JOINTS = re.compile(r",|:|\b(?:and|then|but|also|plus)\b")
_REASONS = re.compile(r"\b(?:because|since|due to|as it|as they|as i)\b")

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|^\s*>.*$", re.MULTILINE)
_TAKES_BACK = re.compile(r"\b(?:kidding|joking|never ?mind|forget (?:it|that)|on second thought|wait,? no)\b")
_SPEECH = frozenset({"wrote", "said", "says", "told", "tells", "asked", "asks", "reads", "writes", "claims", "got"})

# Words by which people ask for the same. The first of a line names the group.
_ALIKE = (
    ("change", "update", "set", "edit", "modify", "correct", "alter", "switch"),
    ("cancel", "stop", "abort", "revoke"),
    ("send", "mail", "email", "forward"),
    ("delete", "remove", "erase", "close"),
    ("create", "add", "make", "open", "place", "book", "schedule", "reserve", "buy", "purchase", "register"),
    ("refund", "reimburse", "repay"),
    ("pay", "transfer", "wire"),
    ("exchange", "swap", "replace"),
    ("apply", "redeem", "use"),
)
_GROUP = {word: line[0] for line in _ALIKE for word in line}
# Their object must be said too: "change my address" asks for no change of the e-mail.
_GENERAL = frozenset({"change", "send", "delete", "create", "pay", "apply"})
_OBJECTS_ALIKE = {"mail": "email", "parcel": "order", "package": "order", "money": "refund"}
_ENDINGS = ("s", "es", "d", "ed", "ing", "led", "ling", "ation", "lation", "ment")

_NEGATORS = frozenset(
    {"not", "don't", "dont", "never", "without", "no", "cannot", "can't", "won't", "shouldn't", "nor"}
)
_ASKS_ABOUT = frozenset({
    "how", "what", "what's", "why", "when", "where", "which", "who", "whether", "if", "know", "policy", "policies",
    "status", "rules", "terms", "conditions", "deadline", "period", "explain", "tell", "understand", "question",
    "questions", "information", "info", "wonder", "wondering", "curious", "possible", "about", "does", "did", "do",
    "eligible", "process", "learn", "read", "hear", "help", "problem", "trouble", "look", "check",
})  # fmt: skip
_REPORTS = frozenset({
    "was", "were", "is", "are", "has", "have", "had", "hasn't", "haven't", "isn't", "wasn't", "didn't", "arrived",
    "received", "missing", "late", "pending", "yet", "still", "already", "been", "came", "got", "processed", "asked",
    "said", "says", "told", "claims", "wrote", "i'm", "never",
})  # fmt: skip
_WANTS = frozenset({"want", "need", "like", "wish", "request", "requesting", "prefer", "i'd"})
_OF_US = frozenset({"i", "i'd", "we", "we'd", "id"})
_ASKS_YOU = frozenset({"can", "could", "would", "will"})
_LEADS_IN = frozenset({
    "please", "pls", "kindly", "hi", "hello", "hey", "ok", "okay", "yes", "yeah", "sure", "so", "well", "now", "just",
    "thanks", "thank", "you", "go", "ahead", "a", "an", "full", "partial", "for", "order", "let's", "next", "first",
    "issue", "give", "make", "initiate", "me", "us", "there",
})  # fmt: skip
_BETWEEN = _LEADS_IN | {
    "to", "my", "the", "this", "that", "it", "have", "get", "be", "give", "me", "us", "arrange", "start", "see", "of",
    "would", "from", "address", "account", "both", "all",
}  # fmt: skip
_OFFERS = frozenset({"shall", "should", "want", "like", "may", "can", "do", "would", "confirm", "right", "ok", "okay"})


@dataclass(frozen=True, slots=True)
class Action:
    """How users call what a tool does: its verb, its objects, and phrases its author declared."""

    tool: str
    verb: str
    objects: frozenset[str]
    phrases: tuple[str, ...] = ()
    needs_object: bool = False


@dataclass(frozen=True, slots=True)
class Clause:
    """The piece of a message that asks for one action, and the whole sentence it stands in."""

    text: str
    sentence: str


def actions_of(tools: Sequence[tuple[str, Sequence[str]]]) -> tuple[Action, ...]:
    """The actions of an agent's writes, by their names and declared phrases."""
    made: list[Action] = []
    for name, phrases in tools:
        parts = [part.lower() for part in _NAME_PARTS.findall(name)] or [name.lower()]
        verb, objects = _group(parts[0]), frozenset(_object(part) for part in parts[1:])
        made.append(Action(name, verb, objects, tuple(map(fold, phrases))))
    shared = {each.verb for each in made if sum(other.verb == each.verb for other in made) > 1}
    return tuple(
        Action(each.tool, each.verb, each.objects, each.phrases, each.verb in _GENERAL or each.verb in shared)
        for each in made
    )


def asks_for(action: Action, text: str, others: Sequence[Action]) -> Clause | None:
    """The clause of the user's text that asks for this action; none when another one takes it back."""
    asked: Clause | None = None
    for clause, piece, sentence in _clauses(fold(_own_words(text[:MOST_CHARACTERS])), (action, *others)):
        mention = _mention(action, piece)
        if mention is None:
            continue
        if not _NEGATORS.isdisjoint(words(piece)[:mention]):
            return None
        is_reported = not _SPEECH.isdisjoint(words(clause.removesuffix(piece)))
        if asked is None and not is_reported and _has_object(action, clause) and _is_request(piece, mention, sentence):
            asked = Clause(clause, sentence)
    return asked if asked is None or not _takes_back(text) else None


def _own_words(text: str) -> str:
    """Without what is quoted: somebody else said that."""
    return _QUOTED.sub(" ", text)


def _takes_back(text: str) -> bool:
    return _TAKES_BACK.search(fold(text)) is not None


def mentions_any(actions: Sequence[Action], text: str) -> bool:
    folded = fold(text)
    return any(_mention(action, folded) is not None for action in actions)


def offers(action: Action, text: str, others: Sequence[Action] = ()) -> str | None:
    """The agent's question that a plain yes answers, if it names this action; a choice of several is none."""
    question = question_of(text)
    if question is None or ("or" in words(fold(question)) and mentions_any(others, question)):
        return None
    folded = fold(question)
    said = words(folded)
    is_offer = not _OFFERS.isdisjoint(said) and _NEGATORS.isdisjoint(said)
    asks_about = {"know", "policy", "status", "explain", "information", "how", "why"} & set(said)
    names = _mention(action, folded) is not None and _has_object(action, folded)
    return question if is_offer and names and not asks_about else None


def question_of(text: str) -> str | None:
    """The question a text ends with."""
    sentences = [each for each in _SENTENCES.split(text.strip()) if each.strip()]
    return sentences[-1] if sentences and sentences[-1].rstrip(" \"'”)*_").endswith("?") else None


def _clauses(folded: str, actions: Sequence[Action]) -> Iterator[tuple[str, str, str]]:
    """(clause, its piece with the mention, sentence): a clause ends where the next action begins."""
    for sentence in _SENTENCES.split(folded):
        clause, piece = "", ""
        for part in _parts(sentence):
            named = any(_mention(action, part) is not None for action in actions)
            if named and piece:
                yield clause, piece, sentence
                clause, piece = part, part
                continue
            clause += part
            piece = part if named else piece
        if piece:
            yield clause, piece, sentence


def _parts(sentence: str) -> Iterator[str]:
    start = 0
    for joint in _JOINTS.finditer(sentence):
        yield sentence[start : joint.start()]
        start = joint.start()
    yield sentence[start:]


def _mention(action: Action, piece: str) -> int | None:
    """Where the action is first named, as the index of a word."""
    return min(_mentions(action, words(piece)), default=None)


def _mentions(action: Action, said: Sequence[str]) -> Iterator[int]:
    for wanted in map(words, action.phrases):
        yield from (at for at in range(len(said)) if said[at : at + len(wanted)] == wanted)
    yield from (
        at for at, word in enumerate(said) if any(_GROUP.get(each, each) == action.verb for each in _bases(word))
    )


def _has_object(action: Action, text: str) -> bool:
    if not action.needs_object or not action.objects:
        return True
    said = words(text)
    if any(phrase in text for phrase in action.phrases):
        return True
    named = {_object(base) for word in said for base in _bases(word)}
    return not action.objects.isdisjoint(named) or (action.verb == "send" and "@" in text)


def _is_request(piece: str, mention: int, sentence: str) -> bool:
    said = words(_REASONS.split(piece)[0])
    first = words(sentence)[:1]
    if mention >= len(said) or not _NEGATORS.isdisjoint(said[:mention]):
        return False
    if not _ASKS_ABOUT.isdisjoint([*said, *first]):
        return False
    is_ours = not _OF_US.isdisjoint(words(sentence))
    asks_you = any(one in _ASKS_YOU and two == "you" for one, two in pairwise(said[:mention]))
    if is_ours and _leads_from(said, mention, _WANTS):
        return True
    if asks_you and _leads_from(said, mention, frozenset({"you"})):
        return True
    if sentence.rstrip().endswith("?") or not _REPORTS.isdisjoint(said):
        return False
    lead = [word for word in said[:mention] if word not in _LEADS_IN and not any(map(str.isdigit, word))]
    lead = [word for word in lead if word not in ("and", "then", "but", "also", "plus")]
    # "You cancelled it" is a report.
    return not said[mention].endswith("ed") and (not lead or said[mention - 1 : mention] == ["please"])


def _leads_from(said: Sequence[str], mention: int, begins: frozenset[str]) -> bool:
    """Whether the words lead straight from "I want" or "can you" to the action, past nothing but small words."""
    at = next((index for index in range(mention - 1, -1, -1) if said[index] in begins), None)
    if at is None:
        return False
    between = [word for word in said[at + 1 : mention] if not any(map(str.isdigit, word))]
    # "I want the lamp order cancelled" may name any thing; "I want help with my refund" does not end so.
    return all(word in _BETWEEN for word in between) or said[mention].endswith("ed")


def _bases(word: str) -> Iterator[str]:
    """The word, and what it may be a form of: `cancelled` of `cancel`, `updating` of `update`."""
    yield word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            yield word[: -len(ending)]
            if ending in ("ing", "ed", "ation"):
                yield word[: -len(ending)] + "e"


def _group(word: str) -> str:
    return next((_GROUP[base] for base in _bases(word) if base in _GROUP), word)


def _object(word: str) -> str:
    bare = word[:-1] if word.endswith("s") and len(word) > 3 else word
    return _OBJECTS_ALIKE.get(bare, bare)
