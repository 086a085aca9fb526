"""Opening everything, and letting go of it, whatever fails on the way."""

import threading
from pathlib import Path

import pytest

from handrail.bootstrap import services_from
from handrail.core.errors import HandrailError
from handrail.settings import Settings


def _writers() -> int:
    return sum(thread.name == "handrail-sqlite-writer" for thread in threading.enumerate())


async def test_what_was_opened_is_closed_when_something_after_it_can_not_be(tmp_path: Path) -> None:
    before = _writers()
    (tmp_path / "guardrails.json").write_text("{")
    with pytest.raises(HandrailError, match="holds no thresholds"):
        async with services_from(Settings(data_dir=tmp_path)):
            pass
    assert _writers() == before


async def test_and_when_what_was_done_with_it_fails(tmp_path: Path) -> None:
    before = _writers()

    async def broken() -> None:
        async with services_from(Settings(data_dir=tmp_path)):
            assert _writers() == before + 1
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await broken()
    assert _writers() == before
