"""The benchmark's traffic: what it writes past the server is what a server would have counted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bench.insight import browsing, counting, fill, views, window, write
from bench.traffic import DAY, Traffic
from handrail.bootstrap import services_from
from handrail.core.clock import FrozenClock
from handrail.db import Database, Prepared, metadata
from handrail.flows.rollup import catch_up
from handrail.settings import Settings

UNTIL = FrozenClock().micros()
ROLLUPS = ("turn_rollup", "conversation_rollup", "reason_rollup", "conversation_fact")


async def _contents(db: Database) -> Mapping[str, set[Any]]:
    """All that is counted, minutes aside: of these the fast way keeps no more than three days."""
    found: dict[str, set[Any]] = {}
    for name in ROLLUPS:
        rows = [dict(row) for row in await db.scan(Prepared(select(metadata.tables[name])), {})]
        found[name] = {
            tuple((key, value) for key, value in row.items() if key not in ("contribution", "version", "updated_at"))
            for row in rows
            if row.get("grain") != "minute"
        }
    return found


async def test_sums_made_on_the_way_are_those_of_counting_the_rows(tmp_path: Path) -> None:
    found: list[Any] = []
    for noted in (False, True):
        folder = tmp_path / str(noted)
        folder.mkdir()
        url = f"sqlite:///{folder / 'handrail.db'}"
        await fill(url, Traffic(UNTIL, 300, users=15, noted=noted))
        async with services_from(Settings(data_dir=folder), FrozenClock()) as services:
            while await catch_up(services, window):
                pass
            found.append(await _contents(services.db))
    assert found[0] == found[1]
    assert all(found[0].values())


async def test_the_same_seed_makes_the_same_traffic(tmp_path: Path) -> None:
    def made(seed: int) -> list[Any]:
        return list(Traffic(30 * DAY, 60, seed=seed).rows())

    assert made(1) == made(1)
    assert made(1) != made(2)


async def test_every_view_can_be_measured(tmp_path: Path, sqlite_url: str) -> None:
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    traffic = Traffic(UNTIL, 800, users=15)
    assert await write(sqlite_url, traffic.rows()) > 800
    await write(sqlite_url, traffic.rollups())
    async with services_from(Settings(data_dir=folder), FrozenClock()) as services:
        async with browsing(services) as client:
            for _, work in views(services, client):
                await work()
        figures = await counting(services, sqlite_url, UNTIL, 40)
    assert figures["turns"] >= 20
