"""Words of the pages."""

import pytest

from handrail.console.words import counted, dollars, lasting, moment, shortened, spoken


def test_a_moment_is_to_the_minute_with_its_zone_and_keeps_the_exact_one() -> None:
    said = moment("2026-11-27T13:46:22.418Z")
    assert ">2026-11-27 13:46 UTC<" in said
    assert 'datetime="2026-11-27T13:46:22.418Z"' in said
    assert moment(None) == ""
    assert "<b>" not in moment("<b>")


@pytest.mark.parametrize(("count", "said"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls"), (1224, "1,224 calls")])
def test_one_is_one_and_many_are_many(count: int, said: str) -> None:
    assert counted(count, "call") == said


def test_names_of_settings_become_headings() -> None:
    assert [spoken(each) for each in ("latency_slo", "error_rate", "")] == ["Latency SLO", "Error rate", ""]


@pytest.mark.parametrize(
    ("micros", "said"), [(0, "0.00 USD"), (1_200, "0.0012 USD"), (3_636_000_000, "3,636.00 USD"), (-5, "-0.0000 USD")]
)
def test_small_money_has_four_places(micros: int, said: str) -> None:
    assert dollars(micros) == said


@pytest.mark.parametrize(("seconds", "said"), [(0, "at once"), (60, "60 s"), (300, "5 min"), (7200, "2 h")])
def test_lengths_are_said_in_a_fitting_unit(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_long_labels_are_cut() -> None:
    assert shortened("hmac:414538a2f4bd1b7e2b0aaf0e153477bd") == "hmac:414538a2f4b…"
    assert shortened("shop") == "shop"
