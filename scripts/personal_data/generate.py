"""Messages with made-up personal data, and ones that only look so: from our own sentences and lists of names."""

import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from handrail.protection.privacy.spans import Kind

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Message:
    """A text, the question it answers, and its personal spans."""

    text: str
    asked: str | None
    spans: tuple[tuple[int, int, Kind], ...]


@cache
def _lists() -> Mapping[str, list[str]]:
    return {name: words.split() for name, words in yaml.safe_load((FOLDER / "names.yaml").read_text()).items()}


@cache
def _messages() -> Mapping[str, list[Mapping[str, Any]]]:
    return yaml.safe_load((FOLDER / "messages.yaml").read_text())


def messages(kind: str, count: int, rng: random.Random) -> list[Message]:
    """Of the kind `personal`, with spans, or `hard`: what only looks so has none, names of things included."""
    made = [_longer(_made(rng.choice(_messages()[kind]), rng), rng) for _ in range(count)]
    return made if kind == "personal" else [replace(each, spans=()) for each in made]


def _longer(message: Message, rng: random.Random) -> Message:
    """One of three goes on with a sentence that holds nothing personal, or begins with one."""
    form = rng.random()
    if form > 0.35:
        return message
    other, gap = _made(rng.choice(_messages()["hard"]), rng).text, rng.choice([". ", ", ", " ", "! ", "\n"])
    if form > 0.12:
        return replace(message, text=message.text.rstrip(".") + gap + other)
    moved = len(other) + len(gap)
    spans = tuple((start + moved, end + moved, kind) for start, end, kind in message.spans)
    return replace(message, text=other + gap + message.text, spans=spans)


def _made(template: Mapping[str, Any], rng: random.Random) -> Message:
    case = rng.choices([str, str.lower, str.upper], [0.45, 0.5, 0.05])[0]
    text, spans = "", list[tuple[int, int, Kind]]()
    for literal, field, _, _ in string.Formatter().parse(template["text"]):
        text += _typo(case(literal), rng)
        if field:
            kind, make = FIELDS[field]
            kind = Kind(template.get("kinds", {}).get(field, kind)) if kind else None
            value = make(rng) if kind is Kind.PASSWORD else case(make(rng))
            if kind:
                spans.append((len(text), len(text) + len(value), kind))
            text += value
    # A question is often not known, and may be unlike ours.
    asked = template.get("asked")
    return Message(text, asked if asked is None or rng.random() < 0.85 else None, tuple(spans))


def _typo(text: str, rng: random.Random) -> str:
    if rng.random() < 0.9 or len(text) < 6:
        return text
    at = rng.randrange(1, len(text) - 1)
    return rng.choice([text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:]])


def _digits(count: int, rng: random.Random, first: str = string.digits) -> str:
    return rng.choice(first) + "".join(rng.choice(string.digits) for _ in range(count - 1))


def _split(digits: str, rng: random.Random, sizes: tuple[int, ...], marks: tuple[str, ...]) -> str:
    mark, parts = rng.choice(marks), list[str]()
    for size in sizes:
        parts.append(digits[:size])
        digits = digits[size:]
    return mark.join([part for part in [*parts, digits] if part])


def given(rng: random.Random) -> str:
    return _invented(rng) if rng.random() < 0.15 else rng.choice(_lists()["given"]).title()


def family(rng: random.Random) -> str:
    return _invented(rng) if rng.random() < 0.2 else rng.choice(_lists()["family"]).title()


def _invented(rng: random.Random) -> str:
    """A name that nobody has, so that the form of names is learnt and not a list."""
    starts, middles, ends = ["", *_lists()["starts"]], _lists()["middles"], ["", "", *_lists()["ends"]]
    syllables = [rng.choice(starts) + rng.choice(middles) for _ in range(rng.randint(1, 3))]
    return "".join(syllables).title() + rng.choice(ends)


def name(rng: random.Random) -> str:
    form = rng.random()
    if form < 0.25:
        return given(rng)
    if form < 0.85:
        return f"{given(rng)} {family(rng)}"
    if form < 0.93:
        return f"{given(rng)} {rng.choice(string.ascii_uppercase)} {family(rng)}"
    return f"{given(rng)}-{given(rng)} {family(rng)}" if form < 0.96 else f"{given(rng)} {given(rng)} {family(rng)}"


def ssn(rng: random.Random) -> str:
    digits = _digits(9, rng, "12345678")
    return _split(digits, rng, (3, 2), ("-", " ", ""))


def card(rng: random.Random) -> str:
    digits = _digits(rng.choice([16, 16, 16, 15]), rng, "3456")
    form = rng.random()
    if form < 0.3:
        return digits
    if form < 0.8:
        return _split(digits, rng, (4, 4, 4), ("-", " ", " "))
    return _split(digits, rng, tuple(rng.choice([2, 3, 4, 5]) for _ in range(3)), (" ",))


def account(rng: random.Random) -> str:
    return _digits(rng.randint(6, 16), rng)


def password(rng: random.Random) -> str:
    form = rng.random()
    if form < 0.35:
        return _digits(rng.choice([4, 4, 5, 6, 6, 8]), rng)
    if form > 0.8:
        return _letters(rng, 8)
    word = rng.choice([given(rng).lower(), *["tiger", "dragon", "sunshine", "monkey", "summer", "secret", "qwerty"]])
    return word + rng.choice(["", "@", "#", "_", " "]) + _digits(rng.randint(1, 4), rng)


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(count))


def phone(rng: random.Random) -> str:
    digits = _digits(10, rng, "23456789")
    forms: list[Callable[[], str]] = [
        lambda: digits,
        lambda: _split(digits, rng, (3, 3), ("-", " ", ".", " ")),
        lambda: f"({digits[:3]}) {digits[3:6]}-{digits[6:]}",
        lambda: f"+{rng.choice(['1', '44', '49', '91', '33'])} {_split(digits, rng, (3, 3), (' ', '-', ''))}",
        lambda: _split(digits, rng, (5,), (" ",)),
        lambda: f"0{_split(digits, rng, (3, 3), (' ',))}",
    ]
    return rng.choice(forms)()


def email(rng: random.Random) -> str:
    local = rng.choice(["{g}{f}", "{g}.{f}", "{g}{n}", "{g}_{f}{n}", "{f}{n}"])
    local = local.format(g=given(rng), f=family(rng), n=rng.randint(1, 999)).lower().replace("'", "")
    host = rng.choice(["gmail", "yahoo", "hotmail", "outlook", "example", "verizon", "email"])
    return f"{local}@{host}.{rng.choice(['com', 'net', 'org', 'in'])}"


def messy_email(rng: random.Random) -> str:
    """As chats hand it on: signs lost, blanks between, or spelled."""
    whole = email(rng)
    local, _, domain = whole.partition("@")
    return rng.choice(
        [
            whole.replace("@", "").replace(".", ""),
            f"{local}{domain.replace('.', '')}",
            f"{local} at {domain}",
            f"{local}@{domain.partition('.')[0]}",
            f"{given(rng).lower()} {rng.randint(1, 9999)} {domain.replace('.', '')}",
        ]
    )


def address(rng: random.Random) -> str:
    lists = _lists()
    street = " ".join(each.title() for each in rng.sample(lists["streets"], rng.choice([1, 1, 2])))
    number, kind, form = rng.randint(1, 9999), rng.choice(lists["kinds"]).title(), rng.random()
    line = f"{number} {street} {kind}"
    if form > 0.95:
        line = f"{street} {kind} {number}"
    elif form > 0.85:
        line = f"{street}str. {number}"
    elif form > 0.75:
        line = f"no {line}"
    if rng.random() < 0.3:
        line += f"{rng.choice([',', ''])} {rng.choice(['apt', 'apartment', 'Suite', 'unit'])} {rng.randint(1, 999)}"
    city, state, code = rng.choice(lists["cities"]).title(), rng.choice(lists["states"]), _digits(5, rng)
    gap = rng.choice([", ", " "])
    tails = ["", f"{gap}{city}", f"{gap}{city}{gap}{state} {code}", f"{gap}{code} {city}", f"{gap}{city} {state}"]
    return line + rng.choice(tails)


def order(rng: random.Random) -> str:
    return rng.choice(["#W{0}", "A{0}", "{0}", "#{0}", "W{0}", "4000-1234-{0}"]).format(_digits(rng.randint(4, 8), rng))


def code(rng: random.Random) -> str:
    letters = "".join(rng.choice(string.ascii_uppercase) for _ in range(3))
    tail = rng.choice([f" {_digits(3, rng)}", _digits(3, rng), _letters(rng, 3).upper(), f"-{_digits(5, rng)}"])
    return letters + tail


def amount(rng: random.Random) -> str:
    value = rng.choice([rng.randint(5, 900), f"{rng.randint(5, 900)}.{rng.randint(10, 99)}", rng.randint(1, 20) * 1000])
    return rng.choice(["${0}", "{0} dollars", "{0} EUR", "{0}", "$ {0}", "{0}$"]).format(value)


def date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 28), rng.choice(_lists()["months"]), rng.randint(2020, 2027)
    numbers = f"{rng.randint(1, 12)}/{day}/{year}"
    forms = [f"{month} {day}", f"{day} {month} {year}", numbers, "yesterday", "last monday", f"{day}th {month}"]
    return rng.choice(forms)


FIELDS: Mapping[str, tuple[Kind | None, Callable[[random.Random], str]]] = {
    "name": (Kind.PERSON, name),
    "given": (Kind.PERSON, given),
    "family": (Kind.PERSON, family),
    "ssn": (Kind.SSN, ssn),
    "ssn4": (Kind.SSN, lambda rng: _digits(4, rng)),
    "digits4": (Kind.SSN, lambda rng: _digits(4, rng)),
    "card": (Kind.CARD, card),
    "account": (Kind.ACCOUNT, account),
    "password": (Kind.PASSWORD, password),
    "phone": (Kind.PHONE, phone),
    "email": (Kind.EMAIL, email),
    "messy_email": (Kind.EMAIL, messy_email),
    "address": (Kind.ADDRESS, address),
    "order": (None, order),
    "code": (None, code),
    "number": (None, lambda rng: _digits(rng.randint(5, 10), rng)),
    "tracking": (None, lambda rng: "1Z" + _digits(16, rng)),
    "amount": (None, amount),
    "date": (None, date),
    "dob": (None, date),
    "month": (None, lambda rng: rng.choice(_lists()["months"])),
    "time": (None, lambda rng: f"{rng.randint(1, 12)}{rng.choice([':30', ':15', ''])} {rng.choice(['am', 'pm'])}"),
    "year": (None, lambda rng: str(rng.randint(1990, 2026))),
    "four": (None, lambda rng: _digits(4, rng)),
    "refund": (None, lambda rng: rng.choice(["RF", "R", "RMA-", ""]) + _digits(rng.randint(6, 13), rng)),
    "small": (None, lambda rng: str(rng.randint(1, 12))),
    "seat": (None, lambda rng: f"{rng.randint(1, 40)}{rng.choice('ABCDEF')}"),
    "sku": (None, lambda rng: f"{_digits(4, rng)}-{_digits(2, rng)}-{rng.randint(1, 9)}"),
    "version": (None, lambda rng: ".".join(str(rng.randint(0, 30)) for _ in range(rng.choice([2, 3, 4])))),
    "expiry": (None, lambda rng: f"{rng.randint(1, 12):02}/{rng.randint(26, 32)}"),
    "city": (None, lambda rng: rng.choice(_lists()["cities"]).title()),
    "product": (None, lambda rng: rng.choice(_lists()["products"]).title()),
}
