"""What a call costs, in whole arithmetic. Pure.

Prices are US dollars per million tokens, which is millionths of a dollar per token; they are kept as whole
10^-18 parts of those, finer than any list is written, and a call's cost is rounded once, half to even.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from handrail.core.prices import DeclaredPrice
from handrail.core.usage import Usage

SCALE = 10**18
DAY_MICROS = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A price per token; above each start, in input tokens of the call, another price holds for all tokens of it."""

    base: int
    tiers: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        price = self.base
        for start, dearer in self.tiers:
            if input_tokens > start:
                price = dearer
        return price


NOTHING = Rate(0)


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices that hold together; without `cached`, tokens from the provider's cache cost as much as others."""

    input: Rate = NOTHING
    output: Rate = NOTHING
    cached: Rate | None = None
    request: int = 0

    def cost(self, usage: Usage) -> int | None:
        """Millionths of a US dollar; None when the provider did not tell the tokens, or told what can't be."""
        given, made, cached = usage.input_tokens, usage.output_tokens, usage.cached_tokens or 0
        if given is None or made is None or cached > given:
            return None
        total = self.request + self.output.at(given) * made
        if self.cached is None:
            total += self.input.at(given) * given
        else:
            total += self.input.at(given) * (given - cached) + self.cached.at(given) * cached
        return _rounded(total)


@dataclass(frozen=True, slots=True)
class When:
    """From a day on, or between two times of each day (UTC); across midnight when they are the other way round."""

    since: int | None = None
    from_time: int | None = None
    until_time: int | None = None

    def holds(self, at: int) -> bool:
        if self.since is not None:
            return at >= self.since
        if self.from_time is None or self.until_time is None:
            return True
        time = at % DAY_MICROS
        if self.until_time < self.from_time:
            return time >= self.from_time or time < self.until_time
        return self.from_time <= time < self.until_time


ALWAYS = When()


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, and who says so; of the rates that hold at a time, the last."""

    source: str
    schedule: tuple[tuple[When, Rates], ...]
    is_free: bool = False

    def cost(self, usage: Usage, at: int) -> int | None:
        return 0 if self.is_free else self.rates(at).cost(usage)

    def rates(self, at: int) -> Rates:
        return next((rates for when, rates in reversed(self.schedule) if when.holds(at)), self.schedule[0][1])

    @classmethod
    def declared(cls, price: DeclaredPrice, source: str) -> "Price":
        """As a project or a setting says it."""
        if price == "free":
            return cls(source, ((ALWAYS, Rates()),), is_free=True)
        cached = None if price.cached is None else Rate(scaled(price.cached))
        return cls(source, ((ALWAYS, Rates(Rate(scaled(price.input)), Rate(scaled(price.output)), cached)),))

    @classmethod
    def found(cls, body: Sequence[Mapping[str, Any]], source: str) -> "Price":
        """As `lookup` writes it."""
        return cls(source, tuple((_when(each["when"]), _rates(each["rates"])) for each in body))


def scaled(price: Decimal) -> int:
    """US dollars per million tokens as whole parts; what is finer than those is cut off."""
    return int(price * SCALE)


def _rounded(total: int) -> int:
    whole, rest = divmod(total, SCALE)
    return whole + (2 * rest > SCALE or (2 * rest == SCALE and whole % 2 == 1))


def _when(body: Mapping[str, Any]) -> When:
    return When(body.get("since"), body.get("from"), body.get("until"))


def _rates(body: Mapping[str, Any]) -> Rates:
    cached = body.get("cached")
    return Rates(
        _rate(body.get("input")),
        _rate(body.get("output")),
        None if cached is None else _rate(cached),
        scaled(Decimal(body.get("request", "0")) * 1000),
    )


def _rate(body: Mapping[str, Any] | None) -> Rate:
    if body is None:
        return NOTHING
    return Rate(scaled(Decimal(body["base"])), tuple((start, scaled(Decimal(price))) for start, price in body["tiers"]))
