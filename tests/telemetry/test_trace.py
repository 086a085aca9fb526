import asyncio
import re

import pytest

from handrail.telemetry.trace import begin_trace, current_trace_id, trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


class TestTraceId:
    @pytest.mark.parametrize(
        "header", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"01-{TRACE}-{SPAN}-01-later-fields"]
    )
    def test_is_the_callers_when_it_sent_one(self, header: str) -> None:
        assert trace_id(header) == TRACE

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
        fresh = trace_id(header)

        assert re.fullmatch("[0-9a-f]{32}", fresh)
        assert fresh not in (TRACE, trace_id(header))


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
