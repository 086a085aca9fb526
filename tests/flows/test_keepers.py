"""What a process does again and again outlives every error of it."""

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from handrail.db import StoreUnavailable
from handrail.flows.keepers import every
from handrail.telemetry.trace import begin_trace, current_trace_id


@pytest.mark.parametrize("error", [StoreUnavailable("down"), ZeroDivisionError("a mistake of ours")])
async def test_an_error_is_told_and_the_next_time_tries_anew(error: Exception) -> None:
    tried, often = list[int](), asyncio.Event()

    async def work() -> None:
        tried.append(1)
        if len(tried) == 3:
            often.set()
        raise error

    with capture_logs() as lines:
        keeper = asyncio.create_task(every(0.001, work, "the leases"))
        await asyncio.wait_for(often.wait(), 5)
        assert not keeper.done()
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
    assert {line["event"] for line in lines} == {"the leases could not be looked after"}


async def test_each_time_is_a_trace_of_its_own() -> None:
    traces, often = list[str | None](), asyncio.Event()

    async def work() -> None:
        traces.append(current_trace_id())
        if len(traces) == 3:
            often.set()

    mine = begin_trace()
    keeper = asyncio.create_task(every(0.001, work, "the leases"))
    await asyncio.wait_for(often.wait(), 5)
    keeper.cancel()
    with suppress(asyncio.CancelledError):
        await keeper
    assert len({mine, None, *traces[:3]}) == 5
    assert current_trace_id() == mine
