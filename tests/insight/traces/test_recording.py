import re

from hypothesis import given
from hypothesis import strategies as st

from handrail.core import json
from handrail.insight.traces import Span, root_span_id, span_id
from tests.insight.traces.made import CALLER, TRACE, finished, turn_trace


class TestSpanIds:
    @given(st.text(max_size=9), st.lists(st.integers(0, 10_000), min_size=2, max_size=50, unique=True))
    def test_are_different_within_a_trace_and_never_zero(self, turn_id: str, numbers: list[int]) -> None:
        ids = [span_id(root_span_id(turn_id, 1), number) for number in numbers]

        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch("[0-9a-f]{16}", each) and int(each, 16) for each in ids)

    def test_of_a_turn_are_the_same_in_every_process_and_other_for_every_owner(self) -> None:
        assert root_span_id("turn_1", 1) == root_span_id("turn_1", 1)
        assert root_span_id("turn_1", 1) not in (root_span_id("turn_1", 2), root_span_id("turn_2", 1))


class TestTurnTrace:
    def test_names_itself_to_what_it_calls_and_keeps_what_the_caller_said_of_sampling(self) -> None:
        trace = turn_trace()

        assert trace.traceparent(trace.begin()) == f"00-{TRACE}-{span_id(trace.root, 1)}-01"

    def test_tells_its_spans_from_the_beginning_of_the_turn_root_first(self) -> None:
        trace = turn_trace()
        outer, inner = trace.begin(), trace.begin()
        trace.end(inner, "execute_tool", "get_order", 100.5, "tool_failed", {"call_id": "call_1"}, ended=100.75)
        trace.end(outer, "chat", "large", 100.25, ended=100.3)

        assert finished(trace, error_code="internal").spans() == [
            Span(0, 0, "invoke_agent", "shop", 0, 1_000_000, "internal", {}),
            Span(1, 0, "chat", "large", 250_000, 49_999, None, {}),
            Span(2, 0, "execute_tool", "get_order", 500_000, 250_000, "tool_failed", {"call_id": "call_1"}),
        ]

    def test_has_no_span_that_begins_before_the_turn(self) -> None:
        trace = turn_trace()
        trace.end(trace.begin(), "guardrail", "input", 99.0, ended=99.5)

        assert [(each.started_micros, each.duration_micros) for each in finished(trace).spans()[1:]] == [(0, 500_000)]

    def test_notes_events_without_a_length(self) -> None:
        trace = turn_trace()
        trace.event("retry", "large", "model_unavailable")

        (_, event) = finished(trace, began=0.0).spans()
        assert (event.kind, event.duration_micros, event.error) == ("retry", None, "model_unavailable")

    def test_is_read_back_as_it_was_stored(self) -> None:
        trace = turn_trace()
        trace.end(trace.begin(), "chat", "large", 100.0, None, {"input_tokens": 3}, ended=100.1)
        spans = finished(trace).spans()

        assert [Span.of(each) for each in json.loads(json.dumps([each.stored() for each in spans]))] == spans

    def test_knows_the_callers_span(self) -> None:
        assert turn_trace().context.parent_id == CALLER
