"""What dashboards, lists and counting cost with a million turns in the store: `python -m bench.insight`."""

import argparse
import asyncio
import contextlib
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from sqlalchemy import select

from bench.traffic import DAY, SAYS, TENANT, Row, Traffic, by_table
from handrail.bootstrap import services_from
from handrail.core import json
from handrail.core.principal import Principal, Role
from handrail.db import Prepared
from handrail.db.metadata import metadata
from handrail.db.migrate import migrate
from handrail.flows.indexing import Indexer
from handrail.flows.rollup import catch_up
from handrail.flows.search import search_identifier, search_words
from handrail.flows.services import Services
from handrail.http.app import create_app
from handrail.insight.scorecard import DEFAULT_WINDOW_MICROS, Transcript
from handrail.insight.scorecard.tables import conversation_fact
from handrail.insight.search import is_told, words_in
from handrail.insight.search.tables import FILTERS
from handrail.reports.conversations import ConversationFilters, conversations
from handrail.settings import Settings

PORTION = 20_000
ROUNDS = 7
PORT = 8080
STAFF = Principal(TENANT, "bench", frozenset({Role.OPERATOR}))
ADMIN = Principal(TENANT, "bench", frozenset({Role.ADMIN}))
MOST_READ = 2_000
VOCABULARY = 20_000
# What a search may take at a million turns.
BAR_SEARCH_MS = 100
_f = conversation_fact
_CONVERSATIONS = Prepared(
    select(_f.c.conversation_id, _f.c.started_at, *(_f.c[name] for name in FILTERS)).order_by(_f.c.started_at.desc())
)
Figures = dict[str, Any]


async def window(_: Transcript) -> int:
    return DEFAULT_WINDOW_MICROS


async def write(url: str, rows: Iterator[tuple[str, Row]]) -> int:
    """Put rows into a database that is at the newest revision; how many. SQLite without waiting for the disk."""
    count = 0
    if url.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
            file.execute("PRAGMA synchronous=OFF")
            for table, portion in by_table(rows, PORTION):
                names, marks = ", ".join(metadata.tables[table].c.keys()), ", ".join("?" * len(portion[0]))
                file.execute("BEGIN")
                file.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", portion)
                file.execute("COMMIT")
                count += len(portion)
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count
    connection = await asyncpg.connect(url)
    for table, portion in by_table(rows, PORTION):
        names = metadata.tables[table].c.keys()
        await connection.copy_records_to_table(table, records=portion, columns=names)
        count += len(portion)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return count


async def fill(url: str, traffic: Traffic) -> int:
    """A database with this traffic and its sums; how many rows."""
    await migrate(url)
    rows = await write(url, traffic.rows())
    return rows + await write(url, traffic.rollups())


async def timed(work: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """Milliseconds of the first and of the middle one of some more, and of the CPU that this process took."""
    first, *rest = [await _once(work) for _ in range(1 + ROUNDS)]
    walls, cpus = zip(*rest, strict=True)
    return {"first_ms": first[0], "median_ms": statistics.median(walls), "least_ms": min(walls), "cpu_ms": min(cpus)}


async def _once(work: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return round(1000 * (time.perf_counter() - wall), 1), round(1000 * (time.process_time() - cpu), 1)


def views(services: Services, client: httpx2.AsyncClient) -> Iterator[tuple[str, Callable[[], Awaitable[Any]]]]:
    """What people look at: the whole pages, as they are answered over HTTP, and lists."""

    def page(path: str) -> Callable[[], Awaitable[Any]]:
        return lambda: _page(client, path)

    for days in (1, 7, 28, 90):
        name = f"{24 * days}h" if days == 1 else f"{days}d"
        yield f"dashboard, {name}", page(f"/console/dashboard?range={name}")
        yield f"costs, {name}", page(f"/console/costs?range={name}")
    yield "costs, 28d, one intent and channel", page("/console/costs?range=28d&intent=chat&channel=chat")
    yield "list, with a call of a model", page("/console/conversations?range=7d&happened=model:p%2Flarge")
    yield "dashboard, 28d, one intent and channel", page("/console/dashboard?range=28d&intent=refund&channel=chat")
    yield "page of conversations", page("/console/conversations")
    yield "page of a conversation", lambda: _opens(services, client)
    lists = {
        "newest": ConversationFilters(TENANT),
        "escalated refunds": ConversationFilters(TENANT, intent="refund", escalated=True),
        "tripped": ConversationFilters(TENANT, tripped=True),
        "costly": ConversationFilters(TENANT, min_cost_micros=15_000),
        "slow": ConversationFilters(TENANT, min_latency_micros=60_000_000),
        "of one user": ConversationFilters(TENANT, subject="user-000007"),
        "of the oldest release": ConversationFilters(TENANT, release_id=f"rel_{0:016d}"),
        "nothing found": ConversationFilters(TENANT, agent="none"),
    }
    for name, filters in lists.items():
        yield f"list, {name}", lambda filters=filters: conversations(services.db, filters)


def searches(services: Services, until: int) -> Iterator[tuple[str, Callable[[], Awaitable[Any]]]]:
    """What people look for in what was said."""

    def of_month(**filters: Any) -> ConversationFilters:
        return ConversationFilters(TENANT, since=until - 28 * DAY, **filters)

    asked = {
        "a frequent word": ("order", of_month()),
        "two words": ("parcel broken", of_month()),
        "two frequent words that hardly come together": ("kettle parcel", of_month()),
        "a phrase": ('"switch itself off"', of_month()),
        "a rare word, in the index alone": (f"word{VOCABULARY - 1}", of_month()),
        "a word that nobody said, in a month": ("umbrella", of_month()),
        "a word that nobody said, in all": ("umbrella", ConversationFilters(TENANT)),
        "a frequent word with an intent": ("order", of_month(intent="refund")),
        "a frequent word with an intent that hardly has it": ("order", of_month(intent="chat")),
        "a frequent word with the oldest release": ("order", of_month(release_id=f"rel_{0:016d}")),
        "a frequent word with a rare channel": ("order", of_month(channel="openai")),
        "a frequent word with an agent that has none": ("order", of_month(agent="none")),
        "a frequent word in the oldest days": ("order", ConversationFilters(TENANT, until=until - 27 * DAY)),
        "a frequent word, escalated": ("order", of_month(escalated=True)),
        "of one user": ("kettle", ConversationFilters(TENANT, subject="user-000007")),
    }
    for name, (text, filters) in asked.items():
        yield (
            f"search, {name}",
            lambda text=text, filters=filters: search_words(services, STAFF, filters, text, limit=25),
        )
    sought = ConversationFilters(TENANT)
    yield "search, an identifier", lambda: search_identifier(services, ADMIN, sought, "ana@example.org", limit=25)


async def searching(services: Services, until: int) -> Figures:
    """How long each takes, and which take longer than they may."""
    found: Figures = {}
    for name, work in searches(services, until):
        found[name] = await timed(work)
        print(f"  {name}: {found[name]}{f' OVER {BAR_SEARCH_MS} ms' if _is_over(found[name]) else ''}", flush=True)
    return found | {"searches_over_bar": [name for name, each in found.items() if _is_over(each)]}


def _is_over(took: Mapping[str, float]) -> bool:
    """By the quickest, which others on the machine have slowed least."""
    return took["least_ms"] > BAR_SEARCH_MS


async def index(services: Services, url: str) -> Figures:
    """Read the newest conversations as a server does, which is what is measured; put the others in past it."""
    rows = await services.db.scan(_CONVERSATIONS, {})
    newest = {row["conversation_id"]: TENANT for row in rows[:MOST_READ]}
    async with services.db.batch(long=True) as batch:
        services.search.changed(batch, newest, at=0)
    indexer = Indexer(services)
    cpu, read = time.process_time(), 0
    while found := await indexer.catch_up():
        read += found
    cpu = time.process_time() - cpu
    await write(url, await _entries(services, rows[MOST_READ:]))
    return {"conversations": read, "cpu_ms_per_conversation": round(1000 * cpu / read, 3)}


async def _entries(services: Services, rows: Sequence[Any]) -> Iterator[tuple[str, Row]]:
    """Of the words that were said, and thirty more of a vocabulary in which few are frequent."""
    key, rng = await services.search.keys.of(TENANT), random.Random(1)
    more = [key.word(f"word{number}") for number in range(VOCABULARY)]
    weights = [1 / (number + 10) for number in range(VOCABULARY)]
    said = {
        intent: [key.word(word.text) for word in words_in(text.replace("{order}", "")) if is_told(word.text)]
        for intent, text in SAYS.items()
    }

    def made() -> Iterator[tuple[str, Row]]:
        for row in rows:
            words = sorted({*said.get(row["intent"], ()), *rng.choices(more, weights, k=30)})
            entry = f" {' '.join(words)} "
            filters = (row[name] for name in FILTERS)
            yield "search_entry", (TENANT, row["started_at"], row["conversation_id"], key.name, 1, entry, 1, *filters)

    return made()


@contextlib.asynccontextmanager
async def browsing(services: Services) -> AsyncGenerator[httpx2.AsyncClient]:
    """A browser on this machine, in the process of the server."""
    transport = httpx2.ASGITransport(create_app(services, port=PORT), client=("127.0.0.1", 1))
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
        yield client


async def _page(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200, (path, answer.status_code, answer.text[:500])


async def _opens(services: Services, client: httpx2.AsyncClient) -> None:
    """One somewhere in the middle, and the list in which it was found."""
    found = await conversations(services.db, ConversationFilters(TENANT, escalated=True), limit=40)
    await _page(client, f"/console/conversations/{found.conversations[-1].conversation_id}")


async def counting(services: Services, url: str, until: int, turns: int) -> Figures:
    """What it costs to count turns that have just happened, beside all that is there."""
    traffic = Traffic(until + DAY, turns, seed=2, days=1, noted=True)
    await write(url, traffic.rows())
    wall, cpu, conversations = time.perf_counter(), time.process_time(), 0
    while counted := await catch_up(services, window):
        conversations += counted
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "turns": traffic.made,
        "conversations": conversations,
        "cpu_ms_per_turn": round(1000 * cpu / traffic.made, 4),
        "conversations_per_second": round(conversations / wall),
        "conversations_per_cpu_second": round(conversations / cpu),
    }


async def measure(url: str, folder: Path, turns: int) -> Figures:
    """Fill one database and look at it."""
    until = time.time_ns() // 1000 // 3_600_000_000 * 3_600_000_000
    wall = time.perf_counter()
    traffic = Traffic(until, turns)
    rows = await fill(url, traffic)
    figures: Figures = {"turns": traffic.made, "rows": rows, "filled_seconds": round(time.perf_counter() - wall)}
    settings = Settings(data_dir=folder, database_url=None if url.startswith("sqlite") else url)
    async with services_from(settings) as services:
        async with browsing(services) as client:
            for name, work in views(services, client):
                figures[name] = await timed(work)
                print(f"  {name}: {figures[name]}", flush=True)
        figures["indexing"] = await index(services, url)
        print(f"  indexing: {figures['indexing']}", flush=True)
        figures |= await searching(services, until)
        figures["counting"] = await counting(services, url, until, min(20_000, turns))
        print(f"  counting: {figures['counting']}", flush=True)
    return figures


async def run(kinds: Sequence[str], turns: int, folder: Path) -> Figures:
    """The figures of each database."""
    found: Figures = {}
    if "sqlite" in kinds:
        print(f"SQLite, {turns} turns", flush=True)
        found["sqlite"] = await measure(f"sqlite:///{folder / 'handrail.db'}", folder, turns)
    if "postgresql" in kinds:
        from tests.servers import PostgresServer

        server = PostgresServer()
        try:
            print(f"PostgreSQL, {turns} turns", flush=True)
            found["postgresql"] = await measure(server.start().url(), folder / "postgres", turns)
        finally:
            server.remove()
    return found


def main() -> None:
    """Print each figure, and all of them as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--folder", type=Path, help="where the SQLite database is left; a temporary one otherwise")
    given = parser.parse_args()
    kinds = given.only or ["sqlite", "postgresql"]
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.makedirs(folder, exist_ok=True)
        print(json.dumps(asyncio.run(run(kinds, given.turns, folder))))


if __name__ == "__main__":
    main()
