from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.insight.traces import Span, waterfall
from tests.insight.traces.made import span


@dataclass(frozen=True)
class Traced:
    spans: Sequence[Span]
    duration_micros: int = 1_000


def traced(*spans: Span) -> Traced:
    return Traced([Span(0, 0, "invoke_agent", "shop", 0, 1_000), *spans])


def rows(*spans: Span) -> list[tuple[int, str]]:
    return [(bar.depth, bar.title) for bar in waterfall(traced(*spans))]


class TestWaterfall:
    def test_shows_each_span_below_what_it_is_part_of_in_the_order_of_time(self) -> None:
        assert rows(
            span(3, 2, name="", kind="retry", start=60, length=None),
            span(2, name="get_order", start=50, length=30),
            span(1, name="large", kind="chat", start=10, length=30),
        ) == [
            (0, "invoke_agent shop"),
            (1, "chat large"),
            (1, "execute_tool get_order"),
            (2, "handrail.retry"),
        ]

    def test_places_bars_by_their_share_of_the_whole(self) -> None:
        bar = waterfall(traced(span(1, start=250, length=500)))[1]

        assert (bar.left, bar.width, bar.count) == (0.25, 0.5, 1)

    def test_an_event_has_no_width_and_what_runs_over_the_end_is_cut(self) -> None:
        event, late = waterfall(traced(span(1, start=10, length=None), span(2, start=900, length=500)))[1:]

        assert event.width == 0.0
        assert late.left + late.width == 1.0

    def test_shows_a_span_whose_parent_was_lost(self) -> None:
        assert rows(span(7, 99, name="orphan"))[1] == (1, "execute_tool orphan")

    def test_makes_neighbours_of_one_name_one_row_when_there_are_many(self) -> None:
        many = [span(number, name="get_order", start=number, length=2) for number in range(1, 300)]
        bars = waterfall(traced(*many, span(300, name="other", start=400)))

        assert [(bar.title, bar.span.duration_micros) for bar in bars[1:]] == [
            ("execute_tool get_order x 299", 598),
            ("execute_tool other", 10),
        ]

    def test_keeps_apart_what_failed(self) -> None:
        many = [span(n, name="a", start=n, error="tool_failed" if n == 100 else None) for n in range(1, 300)]

        assert [bar.count for bar in waterfall(traced(*many))[1:]] == [99, 1, 199]

    def test_shows_a_turn_without_spans(self) -> None:
        assert rows() == [(0, "invoke_agent shop")]
        assert waterfall(Traced([])) == []

    @settings(max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.integers(-1, 400),
                st.sampled_from(["a", "b", "c"]),
                st.integers(0, 2_000),
                st.one_of(st.none(), st.integers(0, 5_000)),
                st.sampled_from([None, "failed"]),
            ),
            max_size=400,
        ),
        st.integers(0, 3),
    )
    def test_never_has_more_than_two_hundred_rows_and_loses_no_span(
        self, given: list[tuple[int, str, int, int | None, str | None]], spread: int
    ) -> None:
        # A parent that comes before its children, as it does in every trace; some are not known.
        spans = [
            span(
                number,
                min(parent, number - 1),
                name=f"{name}{number if spread else ''}",
                start=start,
                length=length,
                error=error,
            )
            for number, (parent, name, start, length, error) in enumerate(given, 1)
        ]
        bars = waterfall(traced(*spans))

        assert len(bars) <= 200
        assert sum(bar.count for bar in bars) == len(spans) + 1
        assert all(0 <= bar.left <= 1 and 0 <= bar.width <= 1 and bar.left + bar.width <= 1.0000001 for bar in bars)
