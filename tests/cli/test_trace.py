from typing import Any

from handrail.cli.trace import lines_of


def trace(*spans: tuple[str, int, int, int | None, str | None], **other: Any) -> dict[str, Any]:
    rows = [
        {"title": title, "depth": depth, "started_micros": start, "duration_micros": length, "error": error}
        for title, depth, start, length, error in spans
    ]
    return {
        "turn_id": "turn_1", "trace_id": "a" * 32, "started_at": "2026-11-27T08:00:00Z", "agent": "shop",
        "release_id": "rel_1", "intent": "refund", "status": "completed", "error_code": None,
        "duration_micros": 1_000, "overhead_micros": 400, "cost_micros": None, "link": None, "spans": rows,
    } | other  # fmt: skip


class TestLinesOf:
    def test_draw_each_span_where_it_was_and_as_long_as_it_took(self) -> None:
        *_, turn, chat = lines_of(trace(("invoke_agent shop", 0, 0, 1_000, None), ("chat large", 1, 500, 250, None)))

        assert turn.count("#") == 40
        assert chat.index("#") - chat.index("|") == 21
        assert chat.count("#") == 10
        assert chat.endswith("0.2 ms")

    def test_mark_events_and_what_failed(self) -> None:
        (*_, event) = lines_of(trace(("handrail.retry large", 1, 999, None, "model_unavailable")))

        assert (event.count("#"), event.count("|")) == (0, 2)
        assert event.endswith("model_unavailable")

    def test_say_that_a_price_is_not_known_and_where_a_turn_began(self) -> None:
        lines = list(lines_of(trace(link={"trace_id": "b" * 32, "span_id": "c" * 16}, error_code="internal")))

        assert "cost not known" in lines[1]
        assert "(internal)" in lines[1]
        assert lines[2] == f"  goes on from trace {'b' * 32}"

    def test_say_what_it_cost(self) -> None:
        assert "cost 0.000042 USD" in list(lines_of(trace(cost_micros=42)))[1]
