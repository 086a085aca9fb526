"""Whatever owners, sleepers and clocks do to a turn, one process at a time can write it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from handrail.core.clock import FrozenClock
from handrail.core.ids import new_id
from handrail.core.messages import ToolCall, ToolResult
from handrail.db import Batch, Conflict, Database
from handrail.db.postgres import PostgresDatabase
from handrail.db.sqlite import SqliteDatabase
from handrail.serving.conversations import Conversation, ConversationStore, LeaseStore, Turn, TurnEnd, TurnStatus

SECOND = 1_000_000
LEASE = 10
OWNERS = st.sampled_from(["one", "two", "three"])
ENDED = {TurnStatus.COMPLETED, TurnStatus.FAILED}


@dataclass
class Life:
    """The model: who owns the turn, for how long, and under which epoch each process believes to own it."""

    owner: str = "one"
    epoch: int = 1
    left: float = LEASE
    status: TurnStatus = TurnStatus.RUNNING
    believes: dict[str, int] = field(default_factory=lambda: {"one": 1})
    written: int = 0

    def may_write(self, name: str) -> bool:
        return self.status is TurnStatus.RUNNING and self.believes.get(name) == self.epoch

    def may_take(self, seen: int) -> bool:
        return self.status is TurnStatus.RUNNING and seen == self.epoch and self.left < 0

    def owned_by(self, name: str) -> None:
        self.owner, self.epoch, self.left = name, self.epoch + 1, LEASE
        self.believes[name] = self.epoch


class _Machine(RuleBasedStateMachine):
    clock: FrozenClock
    open: Callable[[], Awaitable[Database]]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.db = self.runner.run(type(self).open())
        self.store, self.leases = ConversationStore(self.db), LeaseStore(self.db)
        self.life, self.skew = Life(), dict[str, int]()
        at = self.clock.micros()
        conversation = Conversation(new_id("conv"), "acme", "ana", "shop", "rel_1", "api", 0, 0, None, at, at)
        self.first = Turn(
            new_id("turn"), "acme", conversation.id, 1, TurnStatus.RUNNING, "shop", "rel_1", 1, self.time_of("one")
        )
        assert self.write(lambda batch: self.store.add(batch, conversation))
        assert self.write(
            lambda batch: self.store.begin(batch, self.first, "hello", owner="one", lease_micros=LEASE * SECOND)
        )

    @rule(seconds=st.sampled_from([1, 4, 9, 11]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.life.left -= seconds

    @rule(name=OWNERS, hours=st.integers(-3, 3))
    def a_clock_goes_wrong(self, name: str, hours: int) -> None:
        """That of a process; the database's own decides about leases."""
        self.skew[name] = hours

    @rule(name=OWNERS)
    def renew(self, name: str) -> None:
        """A process that believes to run it says so, also one that has slept through its lease."""
        ids = [self.first.id] if name in self.life.believes else []
        self.runner.run(self.leases.renew(name, ids, lease_micros=LEASE * SECOND))
        if name == self.life.owner and name in self.life.believes and self.life.status is TurnStatus.RUNNING:
            self.life.left = LEASE

    @rule(name=OWNERS, behind=st.integers(0, 2))
    def take_over(self, name: str, behind: int) -> None:
        """As the sweeper does, by what it has read, which may be old by now."""
        seen = max(self.life.epoch - behind, 0)
        turn = replace(self.first, epoch=seen)
        taken = self.write(lambda batch: self.leases.take_over(batch, turn, owner=name, lease_micros=LEASE * SECOND))
        assert taken == self.life.may_take(seen)
        if taken:
            self.life.owned_by(name)

    @rule(names=st.lists(OWNERS, min_size=2, max_size=3, unique=True))
    def all_take_over_at_once(self, names: list[str]) -> None:
        async def together() -> list[bool]:
            turn = replace(self.first, epoch=self.life.epoch)
            return list(
                await asyncio.gather(
                    *(
                        self.written(
                            lambda batch, name=name: self.leases.take_over(
                                batch, turn, owner=name, lease_micros=LEASE * SECOND
                            )
                        )
                        for name in names
                    )
                )
            )

        could = self.life.may_take(self.life.epoch)
        took = [name for name, done in zip(names, self.runner.run(together()), strict=True) if done]
        assert len(took) == int(could)
        for name in took:
            self.life.owned_by(name)

    @rule(name=OWNERS)
    def let_go(self, name: str) -> None:
        done = self.write(lambda batch: self.leases.let_go(batch, self.turn_of(name)))
        assert done == self.life.may_write(name)
        if done:
            # Nobody's, so that the process which let go can't renew it any more.
            self.life.owner, self.life.left = "", -1e-6

    @rule(name=OWNERS)
    def write_a_call(self, name: str) -> None:
        """Intent and result, each in its own fenced batch."""
        may, call = self.life.may_write(name), ToolCall(new_id("call"), "refund", "{}")
        begun = self.write(lambda batch: self.fenced(batch, name, call, None))
        assert begun == may
        result = ToolResult(call.id, call.name, "{}", "completed", None)
        assert self.write(lambda batch: self.fenced(batch, name, call, result)) == may
        if may:
            self.life.written += 1
            self.life.left = LEASE

    @rule(name=OWNERS, status=st.sampled_from([TurnStatus.COMPLETED, TurnStatus.FAILED, TurnStatus.REQUIRES_ACTION]))
    def end(self, name: str, status: TurnStatus) -> None:
        turn, end = self.turn_of(name), TurnEnd(status)
        position = 100 + self.life.epoch if name in self.life.believes else 99

        def change(batch: Batch) -> None:
            self.store.end(batch, turn, end, at=self.time_of(name))
            self.store.add_message(batch, turn, position, "assistant", name, "agent", at=self.time_of(name))

        done = self.write(change)
        assert done == self.life.may_write(name)
        if done:
            self.life.status = status

    @rule(name=OWNERS)
    def go_on(self, name: str) -> None:
        turn = replace(self.first, epoch=self.life.epoch)
        done = self.write(lambda batch: self.leases.go_on(batch, turn, owner=name, lease_micros=LEASE * SECOND))
        assert done == (self.life.status is TurnStatus.REQUIRES_ACTION)
        if done:
            self.life.status = TurnStatus.RUNNING
            self.life.owned_by(name)

    @invariant()
    def is_what_the_model_is(self) -> None:
        stored = self.runner.run(self.store.find_turn("acme", self.first.id))
        assert stored is not None
        assert (stored.epoch, stored.status) == (self.life.epoch, self.life.status)
        assert len(self.runner.run(self.store.turn_calls("acme", self.first.id))) == self.life.written
        expired = any(each.id == self.first.id for each in self.runner.run(self.leases.expired(limit=1000)))
        assert expired == (self.life.status is TurnStatus.RUNNING and self.life.left < 0)

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        turn = replace(self.first, epoch=self.life.epoch)
        if self.life.status is TurnStatus.RUNNING:
            self.write(lambda batch: self.store.end(batch, turn, TurnEnd(TurnStatus.FAILED), at=0))
        self.runner.run(self.db.close())
        self.runner.close()

    def turn_of(self, name: str) -> Turn:
        return replace(self.first, epoch=self.life.believes.get(name, 0))

    def time_of(self, name: str) -> int:
        return self.clock.micros() + self.skew.get(name, 0) * 3600 * SECOND

    def fenced(self, batch: Batch, name: str, call: ToolCall, result: ToolResult | None) -> None:
        turn = self.turn_of(name)
        self.store.still_mine(batch, turn, lease_micros=LEASE * SECOND)
        if result is None:
            self.store.add_call(batch, turn, call, effect="write")
        else:
            self.store.end_call(batch, turn, result, at=self.time_of(name))

    def write(self, change: Callable[[Batch], None]) -> bool:
        return self.runner.run(self.written(change))

    async def written(self, change: Callable[[Batch], None]) -> bool:
        try:
            async with self.db.batch() as batch:
                change(batch)
        except Conflict:
            return False
        return True


def _run(clock: FrozenClock, open: Callable[[], Awaitable[Database]], examples: int) -> None:
    machine = type("Machine", (_Machine,), {"open": staticmethod(open), "clock": clock})
    few = settings(
        max_examples=examples,
        stateful_step_count=15,
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


def test_a_turn_is_owned_as_the_model_says_on_sqlite(sqlite_url: str, clock: FrozenClock, no_loop: None) -> None:
    async def open_sqlite() -> Database:
        return SqliteDatabase(Path(sqlite_url.removeprefix("sqlite:///")), clock)

    _run(clock, open_sqlite, 80)


@pytest.mark.postgres
def test_a_turn_is_owned_as_the_model_says_on_postgresql(postgres_url: str, clock: FrozenClock, no_loop: None) -> None:
    async def open_postgres() -> Database:
        return await PostgresDatabase.connect(postgres_url, clock, connections=3)

    _run(clock, open_postgres, 15)
