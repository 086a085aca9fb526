"""Whatever happens to conversations, and whoever dies while counting: the sums are those of a count from scratch."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import delete, select

from handrail.core import json
from handrail.core.clock import FrozenClock
from handrail.db import Database, Prepared, StoreUnavailable, metadata
from handrail.db.postgres import PostgresDatabase
from handrail.db.sqlite import SqliteDatabase
from handrail.flows import rollup
from handrail.flows.rollup import count_of_subject, count_page
from handrail.insight.scorecard import (
    DEFAULT_WINDOW_MICROS,
    Additions,
    ConversationFact,
    Transcript,
    account,
    contribution_of,
    counted,
    fact_of,
    intent_of,
)
from handrail.insight.scorecard.rollup import LATENCY
from handrail.reports.transcripts import transcripts
from handrail.serving.conversations.tables import conversation
from tests.flows.world import closed, world_over
from tests.written import ANSWERED, ASKED, CLARIFIED, DENIED, FAILED, HANDED_OFF, PARKED, REFUND, STOPPED, Told, Written

ROLLUPS = ("turn_rollup", "conversation_rollup", "reason_rollup", "usage_rollup")
_ALL = {name: Prepared(select(metadata.tables[name])) for name in (*ROLLUPS, "conversation_fact", "fact_change")}
_IDS = Prepared(select(conversation.c.id))
_TWICE = replace(REFUND, costs=(None, 7), model="other")
_TURNS = st.sampled_from([ANSWERED, ASKED, CLARIFIED, FAILED, HANDED_OFF, STOPPED, PARKED, REFUND, DENIED, _TWICE])
Sums = Mapping[str, Mapping[tuple[Any, ...], Mapping[str, int]]]


async def window(_: Transcript) -> int:
    return DEFAULT_WINDOW_MICROS


class DyingDatabase:
    """The process dies at its next batch, before it is stored or after."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.dialect = inner.dialect
        self.dies: str | None = None

    @asynccontextmanager
    async def batch(self, *, long: bool = False) -> AsyncIterator[Any]:
        dies, self.dies = self.dies, None
        async with self._inner.batch(long=long) as batch:
            yield batch
            if dies == "before":
                raise StoreUnavailable("it died before it was stored")
        if dies == "after":
            raise StoreUnavailable("it died after it was stored")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def from_scratch(told: Mapping[str, Transcript], now: int) -> tuple[list[ConversationFact], Sums]:
    """Every conversation judged anew, and everything summed up."""
    total: Additions = {name: {} for name in ROLLUPS}
    facts: list[ConversationFact] = []
    shown = sorted((each for each in told.values() if counted(each)), key=lambda t: (t.created_at, t.conversation_id))
    for place, each in enumerate(shown):
        line = (each.tenant_id, each.subject, each.agent, intent_of(each))
        later = [t for t in shown[place + 1 :] if (t.tenant_id, t.subject, t.agent, intent_of(t)) == line]
        next_at = later[0].created_at if later else None
        fact = fact_of(each, window_micros=DEFAULT_WINDOW_MICROS, next_at=next_at, now=now)
        assert fact is not None
        facts.append(fact)
        account(total, fact.tenant_id, fact.agent, fact.channel, contribution_of(each, fact))
    return facts, total


async def stored_sums(database: Database) -> Sums:
    """What the tables say."""
    found: dict[str, dict[tuple[Any, ...], dict[str, int]]] = {}
    for name in ROLLUPS:
        key = [column.name for column in metadata.tables[name].primary_key]
        rows = await database.scan(_ALL[name], {})
        found[name] = {
            tuple(row[each] for each in key): {each: many for each, many in amounts_of(row).items() if each not in key}
            for row in rows
        }
    return found


def amounts_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A stored row, its histogram bucket by bucket."""
    amounts = dict(row)
    latencies = json.loads(amounts.pop("latencies", "{}"))
    return amounts | {LATENCY + bucket: count for bucket, count in latencies.items()}


def without_nothing(sums: Sums) -> Sums:
    return {
        name: {
            key: kept
            for key, amounts in rows.items()
            if (kept := {each: many for each, many in amounts.items() if many})
        }
        for name, rows in sums.items()
    }


class _Machine(RuleBasedStateMachine):
    make: Callable[[FrozenClock], Awaitable[Database]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FrozenClock()
        self.runner.run(self._begin())
        self.known: dict[str, str] = {}
        self.parked: dict[str, str] = {}
        self.erased: dict[str, Transcript] = {}

    async def _begin(self) -> None:
        self.database = await type(self).make(self.clock)
        self.dying = DyingDatabase(self.database)
        self.world = await world_over(self.dying, self.clock)
        self.written = Written(self.database, self.clock)

    @rule(subject=st.sampled_from(["ana", "ana", "bo"]), told=_TURNS, counted_before=st.booleans())
    def begins(self, subject: str, told: Told, counted_before: bool) -> None:
        if counted_before:
            self.runner.run(self._all_counted())
        key = self.runner.run(self.written.conversation(subject))
        self.known[key] = subject
        self._turn(key, told)

    @rule(which=st.integers(0, 5), told=_TURNS)
    def goes_on(self, which: int, told: Told) -> None:
        if self.known:
            self._turn(list(self.known)[which % len(self.known)], told)

    def _turn(self, key: str, told: Told) -> None:
        self.clock.advance(2)
        if key not in self.parked:
            turn_id = self.runner.run(self.written.turn(key, told))
            if told.status == "requires_action":
                self.parked[key] = turn_id

    @rule(status=st.sampled_from(["completed", "failed", "cancelled"]))
    def is_decided(self, status: str) -> None:
        if self.parked:
            key, turn_id = self.parked.popitem()
            self.runner.run(self.written.end(key, turn_id, status))

    @rule(which=st.integers(0, 5), cost=st.integers(1, 9))
    def is_priced_late(self, which: int, cost: int) -> None:
        if self.known:
            self.runner.run(self.written.priced(list(self.known)[which % len(self.known)], cost))

    @rule(
        which=st.integers(0, 5),
        said=st.sampled_from([("thumb", -1), ("thumb", 1), ("csat", 4), ("nps", 9), ("resolved", 0)]),
    )
    def is_rated_late(self, which: int, said: tuple[str, int]) -> None:
        if self.known:
            self.runner.run(self.written.says(list(self.known)[which % len(self.known)], *said))

    @rule(which=st.integers(0, 5), amount=st.integers(1, 9))
    def is_worth_something(self, which: int, amount: int) -> None:
        if self.known:
            self.runner.run(self.written.is_worth(list(self.known)[which % len(self.known)], amount))

    @rule(subject=st.sampled_from(["ana", "bo"]))
    def is_erased(self, subject: str) -> None:
        gone = [key for key, whose in self.known.items() if whose == subject]
        if not gone:
            return
        services = self.world.services

        async def erase() -> None:
            # What erasure promises is what was known then, neighbours included.
            await self._all_counted()
            await count_of_subject(services, "default", subject)
            # Whoever comes again under the name is somebody else to them: nobody knows any more whose they were.
            nobody = f"erased with {len(self.erased)} before"
            told = await transcripts(self.database, gone)
            self.erased |= {key: replace(each, subject=nobody) for key, each in told.items()}
            for key in gone:
                async with self.database.batch() as batch:
                    services.facts.forget(batch, "default", key)
                    services.background.approvals.delete_of_conversation(batch, "default", key)
                    services.background.feedback.delete_of_conversation(batch, "default", key)
                    services.background.conversations.delete(batch, "default", key)

        self.runner.run(erase())
        for key in gone:
            del self.known[key]
            self.parked.pop(key, None)

    @rule(minutes=st.sampled_from([1, 59, 60 * 7, 60 * 24, 60 * 24 + 1]))
    def time_passes(self, minutes: int) -> None:
        self.clock.advance(minutes * 60)

    @rule(page=st.integers(1, 4))
    def is_counted(self, page: int) -> None:
        self.runner.run(self._count(page))

    @rule(dies=st.sampled_from(["before", "after"]))
    def dies_while_counting(self, dies: str) -> None:
        self.dying.dies = dies
        with suppress(StoreUnavailable):
            self.runner.run(self._count(2))
        self.dying.dies = None

    @rule()
    def two_count_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(*(count_page(self.world.services, window) for _ in range(2)), return_exceptions=True)

        self.runner.run(both())

    async def _count(self, page: int) -> None:
        before, rollup.PAGE = rollup.PAGE, page
        try:
            await count_page(self.world.services, window)
        finally:
            rollup.PAGE = before

    async def _all_counted(self) -> None:
        while await count_page(self.world.services, window):
            pass

    def teardown(self) -> None:
        try:
            self.runner.run(self._compare())
        finally:
            self.runner.run(self._end())
            self.runner.close()

    async def _compare(self) -> None:
        await self._all_counted()
        ids = [row["id"] for row in await self.database.fetch_all(_IDS, {})]
        told = {**await transcripts(self.database, ids), **self.erased}
        facts, expected = from_scratch(told, self.clock.micros())
        stored = await self.world.services.facts.of(told)
        for fact in facts:
            found = stored[fact.conversation_id].fact
            assert found.subject == (None if fact.conversation_id in self.erased else fact.subject)
            if fact.conversation_id not in self.erased:
                assert found == fact
        assert without_nothing(await stored_sums(self.database)) == without_nothing(expected)
        assert await self.database.fetch_all(_ALL["fact_change"], {}) == []

    async def _end(self) -> None:
        await closed(self.world)
        await self.database.close()


def _run(machine: type[_Machine], examples: int) -> None:
    few = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(machine, settings=few)


@pytest.fixture
def no_loop() -> Iterator[None]:
    """`asyncio.Runner` leaves no event loop behind, as it should."""
    yield
    asyncio.set_event_loop(None)


def test_sums_on_sqlite_are_those_of_counting_from_scratch(tmp_path: Path, migrated_file: Path, no_loop: None) -> None:
    numbers = itertools.count()

    async def make(clock: FrozenClock) -> Database:
        path = tmp_path / f"{next(numbers)}.db"
        shutil.copyfile(migrated_file, path)
        return SqliteDatabase(path, clock)

    _run(type("Sqlite", (_Machine,), {"make": staticmethod(make)}), 12)


@pytest.mark.postgres
def test_sums_on_postgresql_are_those_of_counting_from_scratch(postgres_url: str, no_loop: None) -> None:
    async def make(clock: FrozenClock) -> Database:
        database = await PostgresDatabase.connect(postgres_url, clock, connections=4)
        async with database.batch() as batch:
            for table in (
                *_ALL,
                "model_usage",
                "approval",
                "feedback",
                "value_event",
                "tool_call",
                "turn",
                "conversation",
            ):
                batch.add(Prepared(delete(metadata.tables[table])), {})
        return database

    _run(type("Postgres", (_Machine,), {"make": staticmethod(make)}), 6)
