"""Charts say the same to the eye, to a screen reader and in the table."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.console.charts import MOST_POINTS, Bar, Series, Step, bars, lines, milliseconds, nice_top, waterfall

VALUES = st.lists(st.none() | st.floats(0, 1e9, allow_nan=False), min_size=1, max_size=700)


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


class TestLines:
    def test_leaves_a_gap_where_there_is_no_number(self) -> None:
        drawn = parsed(lines("Turns", list("abcde"), [Series("turns", [1, 2, None, 3, 4])], str))
        assert len(drawn.findall(".//polyline")) == 2
        assert [each.text for each in drawn.findall(".//tbody/tr/td")] == ["1", "2", "no data", "3", "4"]

    def test_draws_a_single_value_as_something_that_is_seen(self) -> None:
        line = parsed(lines("Turns", ["a"], [Series("turns", [3])], str)).find(".//polyline")
        assert line is not None
        assert len(line.attrib["points"].split()) == 2

    def test_names_its_lines_only_when_there_are_several(self) -> None:
        assert "legend" not in lines("Turns", ["a"], [Series("turns", [3])], str)
        assert "legend" in lines("Turns", ["a"], [Series("p50", [3]), Series("p95", [4])], str)

    def test_escapes_what_it_is_given(self) -> None:
        drawn = lines("<b>", ["<i>"], [Series("<s>", [1]), Series("x", [2])], lambda _: "<u>")
        assert not any(tag in drawn for tag in ("<b>", "<i>", "<s>", "<u>"))

    @pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 24, 25, 29, 91])
    def test_writes_times_below_where_none_sticks_out_on_a_phone(self, count: int) -> None:
        drawn = str(lines("n", [f"t{place}" for place in range(count)], [Series("n", [1.0] * count)], str))
        places = [float(each) for each in re.findall(r'<text x="([0-9.]+)%"', drawn)]
        assert 1 <= len(places) <= 4
        assert all(10 <= each <= 90 for each in places)
        assert all(after - before >= 20 for before, after in pairwise(places))

    def test_carries_no_style_that_the_policy_of_the_pages_forbids(self) -> None:
        drawn = lines("Turns", ["a", "b"], [Series("turns", [3, 4], [1, 2], [5, 6])], str)
        assert "style" not in drawn
        assert drawn.count("polygon") == 1

    @given(VALUES)
    def test_is_well_formed_and_bounded_for_any_numbers(self, values: list[float | None]) -> None:
        drawn = parsed(lines("x", [str(place) for place in range(len(values))], [Series("x", values)], str))
        assert len(drawn.findall(".//tbody/tr")) <= MOST_POINTS
        for line in drawn.findall(".//polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert -3 <= x <= 1003
                assert 0 <= y <= 100


class TestBars:
    def test_shows_the_uncertainty_and_leads_to_what_is_behind(self) -> None:
        drawn = parsed(bars("By intent", [Bar("refund", 0.5, "50 %", 0.3, 0.7, "/x?a=1&b=2")], head=("a", "b"), top=1))
        whisker, link = drawn.find(".//line"), drawn.find(".//a")
        assert whisker is not None
        assert (whisker.attrib["x1"], whisker.attrib["x2"]) == ("30.0%", "70.0%")
        assert link is not None
        assert link.attrib["href"] == "/x?a=1&b=2"

    def test_draws_nothing_for_an_unknown_value(self) -> None:
        drawn = parsed(bars("By intent", [Bar("refund", None, "not measured yet")], head=("a", "b")))
        assert drawn.find(".//rect") is None
        assert "not measured yet" in "".join(drawn.itertext())


class TestWaterfall:
    def test_keeps_every_step_inside_the_whole(self) -> None:
        steps = [Step("turn", 0, 100, 0, ""), Step("chat", 99.9, 50, 1, "late", "model", has_failed=True)]
        rects = parsed(waterfall("Turn", steps, 100)).findall(".//rect")
        assert all(float(r.attrib["x"][:-1]) + float(r.attrib["width"][:-1]) <= 100.5 for r in rects)
        assert "is-bad" in rects[1].attrib["class"]


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.03, 0.05), (1, 1), (1.1, 2), (2.3, 2.5), (26, 50), (99, 100), (100, 100)]
)
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert nice_top(value) == pytest.approx(top)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.42, "under 1 ms"),
        (4.2, "4.2 ms"),
        (340, "340 ms"),
        (999.7, "1.0 s"),
        (2400, "2.4 s"),
        (200_000, "3 min 20 s"),
    ],
)
def test_a_time_is_said_as_people_say_it(value: float, text: str) -> None:
    assert milliseconds(value) == text
