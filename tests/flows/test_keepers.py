"""What a process does again and again outlives every error of it."""

import asyncio
from contextlib import suppress

import pytest

from handrail.db import StoreUnavailable
from handrail.flows.keepers import every


@pytest.mark.parametrize("error", [StoreUnavailable("down"), ZeroDivisionError("a mistake of ours")])
async def test_an_error_is_told_and_the_next_time_tries_anew(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    tried, often = list[int](), asyncio.Event()

    async def work() -> None:
        tried.append(1)
        if len(tried) == 3:
            often.set()
        raise error

    keeper = asyncio.create_task(every(0.001, work, "the leases"))
    await asyncio.wait_for(often.wait(), 5)
    assert not keeper.done()
    keeper.cancel()
    with suppress(asyncio.CancelledError):
        await keeper
    assert "the leases could not be looked after" in capsys.readouterr().out
