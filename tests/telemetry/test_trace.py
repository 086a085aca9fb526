import asyncio
import re

import pytest

from handrail.telemetry.trace import (
    TraceContext,
    begin_trace,
    current_trace,
    current_trace_id,
    enter_trace,
    trace_context,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


class TestTraceContext:
    @pytest.mark.parametrize(
        "header", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-03", f"01-{TRACE}-{SPAN}-01-later-fields"]
    )
    def test_is_the_callers_when_it_sent_one(self, header: str) -> None:
        assert trace_context(header) == TraceContext(TRACE, SPAN)

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "nonsense",
            f"00-{TRACE.upper()}-{SPAN}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"ff-{TRACE}-{SPAN}-01",
            f"00-{TRACE}-{SPAN}-01-more",
            f"00-{TRACE}-{SPAN}",
            f"00-{TRACE}-{SPAN}-01\n",
            f"01-{TRACE}-{SPAN}-01-" + "x" * 10_000,
        ],
    )
    def test_is_fresh_when_the_header_is_none_or_no_traceparent(self, header: str | None) -> None:
        fresh = trace_context(header, "vendor=1")

        assert re.fullmatch("[0-9a-f]{32}", fresh.trace_id)
        assert fresh.trace_id not in (TRACE, trace_context(header).trace_id)
        assert (fresh.parent_id, fresh.is_sampled, fresh.state) == (None, True, None)

    def test_says_that_the_caller_does_not_sample_and_passes_it_on(self) -> None:
        context = trace_context(f"00-{TRACE}-{SPAN}-00")

        assert not context.is_sampled
        assert context.traceparent("1" * 16) == f"00-{TRACE}-{'1' * 16}-00"

    def test_keeps_the_callers_tracestate(self) -> None:
        assert trace_context(f"00-{TRACE}-{SPAN}-01", "congo=t61rcWkgMzE,rojo=1").state == "congo=t61rcWkgMzE,rojo=1"

    @pytest.mark.parametrize("state", ["", "a=1\nx: y", "a=" + "x" * 600, "a=\u00e9"])
    def test_drops_a_tracestate_that_no_header_may_hold(self, state: str) -> None:
        assert trace_context(f"00-{TRACE}-{SPAN}-01", state).state is None

    @pytest.mark.parametrize("flags", ["00", "01"])
    def test_what_goes_out_is_read_back_by_the_next_one(self, flags: str) -> None:
        context = trace_context(f"00-{TRACE}-{SPAN}-{flags}")
        received = trace_context(context.traceparent("a" * 16))

        assert (received.trace_id, received.parent_id, received.is_sampled) == (TRACE, "a" * 16, flags == "01")


class TestBeginTrace:
    async def test_reaches_the_tasks_it_starts_and_no_other(self) -> None:
        async def request(trace: str) -> tuple[str | None, str | None]:
            begin_trace(f"00-{trace}-{SPAN}-01")
            inner = asyncio.create_task(asyncio.sleep(0, current_trace_id()))
            await asyncio.sleep(0)
            return await inner, current_trace_id()

        one, two = await asyncio.gather(request("1" * 32), request("2" * 32))

        assert one == ("1" * 32,) * 2
        assert two == ("2" * 32,) * 2
        assert current_trace_id() is None

    async def test_a_task_may_go_on_in_a_trace_that_began_elsewhere(self) -> None:
        async def elsewhere() -> TraceContext | None:
            enter_trace(TraceContext(TRACE, SPAN))
            return current_trace()

        assert await asyncio.create_task(elsewhere()) == TraceContext(TRACE, SPAN)
        assert current_trace() is None
