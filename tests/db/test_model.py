"""Any mix of batches leaves the database as the same batches would leave a dictionary, one after another."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from handrail.core.clock import FrozenClock, SystemClock
from handrail.db import Batch, Conflict, Database
from handrail.db.postgres import PostgresDatabase
from handrail.db.sqlite import SqliteDatabase
from tests.db.tables import ADD, ALL, CREATE, REMOVE, REPLACE

Rows = dict[int, str]


@dataclass(frozen=True)
class Step:
    """One statement of a batch."""

    kind: Literal["add", "replace", "remove"]
    id: int
    text: str
    seen: str
    expect: int | None

    def append_to(self, batch: Batch) -> None:
        if self.kind == "add":
            batch.add(ADD, {"id": self.id, "text": self.text}, expect=self.expect)
        elif self.kind == "replace":
            batch.add(REPLACE, {"key": self.id, "seen": self.seen, "new": self.text}, expect=self.expect)
        else:
            batch.add(REMOVE, {"key": self.id}, expect=self.expect)

    def apply_to(self, rows: Rows) -> bool:
        """Do it to the model; whether it may stay."""
        present = self.id in rows
        if self.kind == "add":
            if present:
                return False
            rows[self.id] = self.text
            return self.expect in (None, 1)
        matches = present and (self.kind == "remove" or rows[self.id] == self.seen)
        if matches and self.kind == "remove":
            del rows[self.id]
        elif matches:
            rows[self.id] = self.text
        return self.expect is None or self.expect == int(matches)


_TEXTS = st.sampled_from(["a", "b"])
_STEPS = st.builds(
    Step,
    kind=st.sampled_from(["add", "replace", "remove"]),
    id=st.integers(1, 4),
    text=_TEXTS,
    seen=_TEXTS,
    expect=st.sampled_from([None, None, 1, 0]),
)
_BATCHES = st.lists(st.lists(_STEPS, min_size=1, max_size=4), min_size=1, max_size=6)


def _follow(rows: Rows, steps: list[Step]) -> tuple[Rows, bool]:
    after = dict(rows)
    return (after, True) if all(step.apply_to(after) for step in steps) else (rows, False)


class _Machine(RuleBasedStateMachine):
    """Subclasses say how a database is opened and whether batches of one moment keep their order."""

    open: Callable[[], Awaitable[Database]]
    keeps_order: bool

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.db = self.runner.run(type(self).open())
        self.rows: Rows = {}
        with contextlib.suppress(Conflict):
            self.runner.run(self._write([Step("remove", id, "", "", None) for id in range(1, 5)]))

    @rule(batches=_BATCHES)
    def one_after_another(self, batches: list[list[Step]]) -> None:
        for steps in batches:
            self.rows, expected = _follow(self.rows, steps)
            assert self.runner.run(self._write(steps)) == expected

    @precondition(lambda self: self.keeps_order)
    @rule(batches=_BATCHES)
    def all_at_once(self, batches: list[list[Step]]) -> None:
        expected: list[bool] = []
        for steps in batches:
            self.rows, kept = _follow(self.rows, steps)
            expected.append(kept)

        async def together() -> list[bool]:
            return list(await asyncio.gather(*(self._write(steps) for steps in batches)))

        assert self.runner.run(together()) == expected

    @precondition(lambda self: not self.keeps_order)
    @rule(batches=_BATCHES)
    def all_at_once_in_any_order(self, batches: list[list[Step]]) -> None:
        """Concurrent transactions on rows of their own: the order they commit in can't be seen."""
        own = [
            [Step(s.kind, s.id + 10 * (n + 1), s.text, s.seen, s.expect) for s in steps]
            for n, steps in enumerate(batches)
        ]
        expected: list[bool] = []
        for steps in own:
            self.rows, kept = _follow(self.rows, steps)
            expected.append(kept)

        async def together() -> list[bool]:
            return list(await asyncio.gather(*(self._write(steps) for steps in own)))

        assert self.runner.run(together()) == expected

    @rule()
    def close_and_open_again(self) -> None:
        self.runner.run(self.db.close())
        self.db = self.runner.run(type(self).open())

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        rows = self.runner.run(self.db.fetch_all(ALL, {}))
        assert {row["id"]: row["text"] for row in rows} == self.rows

    def teardown(self) -> None:
        async def empty() -> None:
            async with self.db.batch() as batch:
                for id in self.rows:
                    batch.add(REMOVE, {"key": id})
            await self.db.close()

        self.runner.run(empty())
        self.runner.close()

    async def _write(self, steps: list[Step]) -> bool:
        try:
            async with self.db.batch() as batch:
                for step in steps:
                    step.append_to(batch)
        except Conflict:
            return False
        return True


async def _create(db: Database) -> None:
    async with db.batch() as batch:
        batch.add(CREATE, {})
    await db.close()


def _run(machine: type[_Machine], examples: int) -> None:
    few = settings(
        max_examples=examples,
        stateful_step_count=8,
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


def test_sqlite_equals_a_dictionary(tmp_path: Path, no_loop: None) -> None:
    path = tmp_path / "things.db"

    async def open_sqlite() -> Database:
        return SqliteDatabase(path, FrozenClock())

    async def prepare() -> None:
        await _create(await open_sqlite())

    asyncio.run(prepare())
    _run(type("Sqlite", (_Machine,), {"open": staticmethod(open_sqlite), "keeps_order": True}), 25)


@pytest.mark.postgres
def test_postgresql_equals_a_dictionary(postgres_url: str, no_loop: None) -> None:
    async def open_postgres() -> Database:
        return await PostgresDatabase.connect(postgres_url, SystemClock(), connections=3)

    async def prepare() -> None:
        await _create(await open_postgres())

    asyncio.run(prepare())
    _run(type("Postgres", (_Machine,), {"open": staticmethod(open_postgres), "keeps_order": False}), 10)
