"""Whole arithmetic is as exact as the price list's own."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import types
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.prices import DeclaredRates
from handrail.core.usage import Usage
from handrail.insight.costs.lookup import schedule_of
from handrail.insight.costs.prices import SCALE, Price, Rate, Rates, When

USED = Usage(1000, 100, 400)


@cache
def listed() -> list[tuple[Any, Any, Price]]:
    """Every model of the list that has a price by tokens."""
    found: list[tuple[Any, Any, Price]] = []
    snapshot = get_snapshot()
    for provider in snapshot.providers:
        for model in provider.models:
            schedule = schedule_of(_Only(provider, model), "", "")
            if schedule is not None:
                found.append((provider, model, Price.found(schedule, "list")))
    return found


class _Only:
    """A list with one model, which is always found."""

    def __init__(self, provider: Any, model: Any) -> None:
        self._found = (provider, model)

    def find_provider_model(self, *_: object) -> tuple[Any, Any]:
        return self._found


def exactly(price: Price, usage: Usage, at: int) -> Fraction:
    """Our sum before it is rounded."""
    rates = price.rates(at)
    given, cached = usage.input_tokens or 0, usage.cached_tokens or 0
    plain = given if rates.cached is None else given - cached
    total = rates.request + rates.input.at(given) * plain + rates.output.at(given) * (usage.output_tokens or 0)
    if rates.cached is not None:
        total += rates.cached.at(given) * cached
    return Fraction(total, SCALE)


@given(data=st.data())
def test_costs_what_the_price_list_says_of_every_model_at_every_time(data: st.DataObject) -> None:
    provider, model, price = data.draw(st.sampled_from(listed()))
    given_tokens = data.draw(st.integers(0, 3_000_000))
    cached = data.draw(st.integers(0, given_tokens))
    made = data.draw(st.integers(0, 500_000))
    when = data.draw(st.datetimes(datetime(2023, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001 - made aware below
    moment = when.replace(tzinfo=UTC)
    at = int(moment.timestamp() * 1_000_000)
    theirs = model.calc_price(
        ListUsage(input_tokens=given_tokens, cache_read_tokens=cached, output_tokens=made),
        provider,
        genai_request_timestamp=moment,
    ).total_price
    usage = Usage(given_tokens, made, cached)
    ours = exactly(price, usage, at)
    # Decimal division of the list rounds at its 28th digit; ours does not round before the end.
    assert abs(ours - Fraction(theirs) * 1_000_000) < Fraction(1, 10**12)
    cost = price.cost(usage, at)
    assert cost is not None
    assert abs(cost - ours) <= Fraction(1, 2)


def test_the_list_has_tiers_times_and_caches_so_that_the_property_means_something() -> None:
    prices = [price for _, _, price in listed()]
    assert len(prices) > 1000
    assert any(rates.input.tiers for price in prices for _, rates in price.schedule)
    assert any(rates.cached for price in prices for _, rates in price.schedule)
    assert any(when.from_time is not None for price in prices for when, _ in price.schedule)
    assert any(when.since is not None for price in prices for when, _ in price.schedule)
    assert any(rates.request for price in prices for _, rates in price.schedule)
    assert issubclass(types.ModelPrice, object)


class TestCost:
    def test_multiplies_tokens_and_rates_and_rounds_once(self) -> None:
        rates = Rates(Rate(SCALE // 2), Rate(3 * SCALE), Rate(SCALE // 10))
        assert rates.cost(USED) == 600 // 2 + 300 + 40

    @pytest.mark.parametrize(("tokens", "cost"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
    def test_a_half_goes_to_the_even(self, tokens: int, cost: int) -> None:
        assert Rates(input=Rate(SCALE // 2)).cost(Usage(tokens, 0)) == cost

    @pytest.mark.parametrize("usage", [Usage(), Usage(10, None), Usage(None, 10), Usage(10, 1, 11)])
    def test_is_unknown_when_the_tokens_are(self, usage: Usage) -> None:
        assert Rates(Rate(SCALE), Rate(SCALE), Rate(1)).cost(usage) is None

    def test_a_tier_holds_for_all_tokens_of_a_call_above_its_start(self) -> None:
        rates = Rates(input=Rate(SCALE, ((100, 2 * SCALE), (200, 4 * SCALE))))
        assert [rates.cost(Usage(count, 0)) for count in (100, 101, 201)] == [100, 202, 804]

    def test_free_is_nothing_whatever_was_told(self) -> None:
        assert Price.declared("free", "project").cost(Usage(), 0) == 0

    def test_a_declared_price_is_dollars_per_million_tokens(self) -> None:
        declared = DeclaredRates(input=Decimal("0.25"), output=Decimal(2), cached=Decimal("0.025"))
        assert Price.declared(declared, "settings").cost(Usage(1_000_000, 500_000, 400_000), 0) == 1_160_000

    def test_cached_tokens_cost_as_much_as_others_when_nobody_says_otherwise(self) -> None:
        declared = DeclaredRates(input=Decimal(1), output=Decimal(1))
        assert Price.declared(declared, "settings").cost(Usage(100, 0, 50), 0) == 100


class TestWhen:
    def test_across_midnight(self) -> None:
        night = When(from_time=22 * 3600_000_000, until_time=6 * 3600_000_000)
        hours = [hour for hour in range(24) if night.holds(hour * 3600_000_000)]
        assert hours == [0, 1, 2, 3, 4, 5, 22, 23]

    def test_the_last_that_holds_wins_and_the_first_when_none_does(self) -> None:
        one, two = Rates(Rate(SCALE)), Rates(Rate(2 * SCALE))
        price = Price("list", ((When(since=100), one), (When(since=200), two)))
        assert [price.rates(at) for at in (50, 100, 200)] == [one, one, two]
