"""Where one argument of a call comes from: the user's words, a claim, a vouched-for record they single out. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, cast

from handrail.protection.boundary.records import Fact, Result, facts, leaves
from handrail.protection.boundary.request import Layer, Request, Said, layers
from handrail.protection.boundary.words import (
    Kind,
    Value,
    compact,
    fold,
    is_plain,
    kind_of,
    spelled,
    stands_in,
    values,
    words,
)

# The last four do not count: only the agent named it, the user named another, several fit, nobody named it.
Origin = Literal["user", "confirmed", "claim", "record", "default", "free", "agent", "rival", "unclear", "nowhere"]

COUNTS: frozenset[Origin] = frozenset({"user", "confirmed", "claim", "record", "default", "free"})
_MINOR = frozenset({"cents", "cent", "minor", "pence"})
_SUMS = _MINOR | {
    "amount",
    "price",
    "total",
    "sum",
    "cost",
    "fee",
    "payment",
    "budget",
    "euros",
    "eur",
    "usd",
    "dollars",
}
_SOURCES = frozenset({"from", "source", "sender", "old", "origin"})
_NAME_PARTS = re.compile(r"[a-z]+|\d+")
_PIECES = re.compile(r"[.,;:!?\n]+")
_ANCHORS: tuple[Kind, ...] = ("code", "email")
_SHORTEST_NAME = 4
_SAYS_NOTHING = frozenset({
    "order", "orders", "with", "from", "that", "this", "please", "have", "want", "would", "like", "need", "back",
    "them", "my", "the", "your", "shipped", "delivered", "processing", "cancelled", "refunded", "refund", "cancel",
    "payment",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as its tool declares it."""

    name: str
    default: Any = None
    has_default: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def parts(self) -> frozenset[str]:
        return name_parts(self.name)

    @property
    def is_sum(self) -> bool:
        return not self.parts.isdisjoint(_SUMS)


def name_parts(name: str) -> frozenset[str]:
    return frozenset(_NAME_PARTS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))


def parameters_of(schema: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters of a tool's JSON schema."""
    shared = cast("Mapping[str, Any]", schema.get("$defs", {}))
    made: dict[str, Parameter] = {}
    for name, given in cast("Mapping[str, Any]", schema.get("properties", {})).items():
        choices = tuple(_choices(given, shared))
        made[name] = Parameter(name, given.get("default"), "default" in given, choices)
    return made


def _choices(given: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[Any]:
    reference = str(given.get("$ref", "")).removeprefix("#/$defs/")
    if reference in shared:
        yield from _choices(shared[reference], {})
    yield from given.get("enum", ())
    for each in given.get("anyOf", ()):
        yield from _choices(each, shared)


class Evidence:
    """What may stand behind the arguments of one call."""

    def __init__(
        self,
        request: Request | None,
        dialogue: Sequence[Said],
        results: Sequence[Result],
        claims: frozenset[str],
        today: date,
        *,
        only_words: bool = False,
    ) -> None:
        self._request = request
        self._spoken = [each.text for each in dialogue if each.by == "user"]
        self._results = () if only_words else results
        self._claims = frozenset() if only_words else claims
        self._today = today
        self.layers: list[Layer] = layers(request, dialogue, today)

    def origin_of(self, parameter: Parameter, value: Any) -> Origin:
        """Where all of this argument comes from; the weakest part of a list or mapping counts."""
        if parameter.has_default and _same(value, parameter.default):
            return "default"
        parts = list(leaves(value))
        if not parts:
            return "nowhere"
        origins: list[Origin] = [self._origin_of_one(parameter, each) for each in parts]
        return _weakest(origins)

    def address_origin(self, parameter: Parameter, text: str) -> Origin | None:
        """Where the addresses in a text come from; None when there are none."""
        whole = kind_of(text, self._today)
        found: list[tuple[Kind, str]] = [whole] if whole else []
        found.extend((each.kind, each.canonical) for each in values(text, self._today))
        addresses = [each for each in found if each[0] in ("email", "url")]
        origins: list[Origin] = [self._of_kind(parameter, kind, canonical, canonical) for kind, canonical in addresses]
        return _weakest(origins) if origins else None

    def _origin_of_one(self, parameter: Parameter, value: Any) -> Origin:
        if value is None:
            return "default"
        if isinstance(value, bool):
            return self._switch(parameter, value)
        if isinstance(value, (int, float)):
            return self._number(parameter, value)
        return self._text(parameter, str(value))

    def _switch(self, parameter: Parameter, value: bool) -> Origin:
        """A yes is in the words when they name the parameter; a no is never guessed."""
        named = value and all(part in self._near_words for part in parameter.parts)
        return "user" if named else "nowhere"

    def _number(self, parameter: Parameter, value: int | float) -> Origin:
        number = Decimal(str(value))
        if parameter.is_sum:
            return self._sum(parameter, number, value)
        return self._of_kind(parameter, "number", spelled(number), value)

    def _sum(self, parameter: Parameter, number: Decimal, value: Any) -> Origin:
        """A sum of money, which people name in whole units whatever the parameter counts."""
        in_units = number / 100 if not parameter.parts.isdisjoint(_MINOR) else number
        return self._of_kind(parameter, "money", spelled(in_units), value)

    def place_of(self, parameter: Parameter, value: Any) -> tuple[int, int] | None:
        """Of several values that the nearest words name: which one this is, and of how many."""
        for kind, canonical in self._readings_of(parameter, value):
            for layer in self.layers:
                named = [each.canonical for each in layer.of(kind)]
                if canonical in named and len(set(named)) > 1:
                    return named.index(canonical), len(named)
                if named:
                    break
        return None

    def _readings_of(self, parameter: Parameter, value: Any) -> Iterator[tuple[Kind, str]]:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return
        whole = kind_of(str(value), self._today)
        if whole is None:
            return
        if whole[0] == "number" and parameter.is_sum:
            number = Decimal(whole[1])
            yield "money", spelled(number / 100 if not parameter.parts.isdisjoint(_MINOR) else number)
        else:
            yield whole

    def _text(self, parameter: Parameter, text: str) -> Origin:
        if not is_plain(text) and not any(text in spoken for spoken in self._spoken):
            return "nowhere"
        if text in self._claims:
            return "claim"
        if text in parameter.choices:
            said = words(fold(text.replace("_", " ").replace("-", " ")))
            return "user" if stands_in(said, self._near_words) else self._record(parameter, text)
        whole = kind_of(text, self._today)
        if whole is not None:
            if whole[0] == "number" and parameter.is_sum:
                return self._sum(parameter, Decimal(whole[1]), text)
            return self._of_kind(parameter, whole[0], whole[1], text)
        address = self.address_origin(parameter, text)
        if address is not None and address not in COUNTS:
            return address
        pieces = [words(fold(piece)) for piece in _PIECES.split(text)]
        pieces = [piece for piece in pieces if piece]
        if pieces and all(any(stands_in(piece, spoken) for spoken in self._all_words) for piece in pieces):
            return "user"
        return self._record(parameter, text)

    def _of_kind(self, parameter: Parameter, kind: Kind, canonical: str, value: Any) -> Origin:
        """The nearest place where the user named anything of the kind decides; only then records are asked."""
        for layer in self.layers:
            if layer.is_far and kind not in _ANCHORS:
                break
            named = layer.of(kind, not parameter.parts.isdisjoint(_SOURCES))
            if not named:
                continue
            spellings = {each.canonical for each in named}
            if canonical not in spellings:
                return "rival"
            if layer.is_question:
                return "confirmed" if self._is_known(kind, canonical, value) else "agent"
            return "unclear" if layer.is_loose and len(spellings) > 1 else "user"
        return self._record(parameter, value)

    def _is_known(self, kind: Kind, canonical: str, value: Any) -> bool:
        """Whether a value that the agent's question named was anybody's else before."""
        said = any(each.canonical == canonical for layer in self._words_only for each in layer.of(kind))
        return said or any(_same(fact.value, value) for fact, _ in self._facts)

    def _record(self, parameter: Parameter, value: Any) -> Origin:
        """A value of a record that the user's words single out, from a field named like the parameter."""
        fitting = [(fact, result) for fact, result in self._facts if _same(fact.value, value)]
        fitting = [each for each in fitting if _named_alike(parameter.name, each[0].field)]
        if any(self._is_meant(fact, result) for fact, result in fitting):
            return "record"
        return "unclear" if fitting else "nowhere"

    def _is_meant(self, fact: Fact, result: Result) -> bool:
        """The user named the record, or it is the only one, or the only one of its list that fits what they said."""
        anchors = self._anchors
        named = anchors & _codes_in(fact.beside)
        if named and all(named - _codes_in(rival) for rival in fact.rivals()):
            return True
        if not all(map(self._is_asked_by_user, leaves(result.arguments))):
            return False
        if result.arguments:
            return fact.is_alone
        if anchors and any(self._is_code(each) for each in fact.beside):
            # The user named another record than this.
            return False
        own = self._described_by & _names_in(fact.beside)
        return fact.is_alone or all(self._described_by & _names_in(rival) < own for rival in fact.rivals())

    def _is_code(self, value: Any) -> bool:
        found = kind_of(value, self._today) if isinstance(value, str) else None
        return found is not None and found[0] == "code"

    def _is_asked_by_user(self, value: Any) -> bool:
        """Whether a read that gave a record was asked with what the user named, and with nothing else."""
        if value is None or isinstance(value, bool):
            return True
        if not isinstance(value, str):
            return False
        said = words(fold(value))
        return _spelling(value) in self._anchors or (value.isalpha() and stands_in(said, self._near_words))

    @cached_property
    def _facts(self) -> list[tuple[Fact, Result]]:
        return [(fact, result) for result in self._results for fact in facts(result)]

    @cached_property
    def _anchors(self) -> frozenset[str]:
        """The codes and addresses of the nearest place that has any; none when it is open which is meant."""
        for layer in self.layers:
            named = [each.canonical for kind in _ANCHORS for each in layer.of(kind)]
            if named:
                return frozenset() if layer.is_loose and len(set(named)) > 1 else frozenset(named)
        return frozenset()

    @cached_property
    def _words_only(self) -> list[Layer]:
        return [layer for layer in self.layers if not layer.is_question]

    @cached_property
    def _near_texts(self) -> list[str]:
        request = self._request
        if request is None:
            return self._spoken[-1:]
        clause = [request.clause.sentence] if request.clause else []
        return [*clause, *request.answers, *([request.question] if request.question else [])]

    @cached_property
    def _near_words(self) -> list[str]:
        return [word for text in self._near_texts for word in words(fold(text))]

    @cached_property
    def _described_by(self) -> frozenset[str]:
        return frozenset(word for word in self._near_words if len(word) >= _SHORTEST_NAME) - _SAYS_NOTHING

    @cached_property
    def _all_words(self) -> list[list[str]]:
        return [words(fold(text)) for text in self._spoken]


def _weakest(origins: Sequence[Origin]) -> Origin:
    return min(origins, key=lambda each: each in COUNTS)


def ambiguous(call: Mapping[str, Parameter], arguments: Mapping[str, Any], evidence: Evidence, today: date) -> set[str]:
    """Parameters whose values the words hold, but not which is whose: two codes of one shape, two addresses."""
    named = [(name, each) for name in call if (each := _named_value(arguments.get(name), today)) is not None]
    unclear: set[str] = set()
    for name, (kind, canonical) in named:
        rivals = [other for other, each in named if other != name and _are_alike(each, (kind, canonical))]
        if rivals and not _is_cued(call[name], kind, canonical, evidence):
            unclear.add(name)
    return unclear


def mismatched(call: Mapping[str, Parameter], arguments: Mapping[str, Any], evidence: Evidence) -> set[str]:
    """Parameters whose values stand at different places of what the user listed: the first order, the second sum."""
    found = {name: evidence.place_of(each, arguments.get(name)) for name, each in call.items()}
    places = {name: place for name, place in found.items() if place is not None}
    return set(places) if len(set(places.values())) > 1 else set()


def _named_value(value: Any, today: date) -> tuple[Kind, str] | None:
    if isinstance(value, bool) or value is None:
        return None
    return kind_of(str(value), today) if isinstance(value, (str, int, float)) else None


def _are_alike(one: tuple[Kind, str], other: tuple[Kind, str]) -> bool:
    return one[0] == other[0] and one[1] != other[1] and (one[0] != "code" or _shape(one[1]) == _shape(other[1]))


def _shape(code: str) -> str:
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", code))


def _is_cued(parameter: Parameter, kind: Kind, canonical: str, evidence: Evidence) -> bool:
    said = [each for layer in evidence.layers for each in layer.values if each.kind == kind]
    said = [each for each in said if each.canonical == canonical]
    return any(_cues(parameter, each) for each in said)


def _cues(parameter: Parameter, value: Value) -> bool:
    nearest = value.before[-1:]
    if value.cue is not None and not {"from", "source", "sender", "old", "origin"}.isdisjoint(parameter.parts):
        return value.cue == "from"
    if value.cue is not None and not {"to", "target", "recipient", "destination", "new"}.isdisjoint(parameter.parts):
        return value.cue == "to"
    return bool(nearest) and nearest[0] in parameter.parts


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other or (isinstance(one, str) and isinstance(other, str) and fold(one) == fold(other))


def _spelling(value: Any) -> str:
    text = fold(str(value))
    return text if "@" in text else compact(text)


def _named_alike(parameter: str, field: str) -> bool:
    return not name_parts(parameter).isdisjoint(name_parts(field))


def _codes_in(record: Sequence[Any]) -> frozenset[str]:
    return frozenset(_spelling(each) for each in record)


def _names_in(record: Sequence[Any]) -> frozenset[str]:
    return frozenset(
        word for each in record if isinstance(each, str) for word in words(fold(each)) if len(word) >= _SHORTEST_NAME
    )
