"""Whatever people, time and sweepers do to an approval, the store says what a few plain rules say."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from handrail.core.clock import FrozenClock
from handrail.core.principal import Role
from handrail.db import Batch, Conflict, Database
from handrail.db.postgres import PostgresDatabase
from handrail.db.sqlite import SqliteDatabase
from handrail.oversight.approvals import (
    Approval,
    ApprovalStore,
    Ballot,
    Clause,
    Delegation,
    DelegationInvalid,
    Edit,
    NothingToDelegate,
    Recorded,
    Refusal,
    Seen,
    Voter,
    lent,
    missing,
    permit,
    vote,
)
from tests.oversight.approvals.cases import CALL, person, requirement, waiting
from tests.oversight.approvals.rows import prepare

HOUR = 3600
PEOPLE = {
    "ann": person("ann", Role.APPROVER),
    "bob": person("bob", Role.APPROVER),
    "cleo": person("cleo", Role.APPROVER),
    "fay": person("fay", Role.VIEWER, teams=frozenset({"finance"})),
    "rita": person("rita", Role.APPROVER, teams=frozenset({"finance"})),
    "dora": person("dora", Role.VIEWER),
}
APPROVERS, FINANCE = {"ann", "bob", "cleo"}, {"fay"}
AMOUNTS = st.sampled_from([150, 120, 90])
NAMES = st.sampled_from(sorted(PEOPLE))
# Above 100 two approvers and one of finance, then one approver: what the rules say to an edited amount.
STRICT = requirement(
    Clause("amount", 2, frozenset({Role.APPROVER}), escalate_to="finance"),
    Clause("money", 1, frozenset(), frozenset({"finance"})),
    escalate_after_seconds=HOUR,
)
MILD = requirement(Clause("amount", 1, frozenset({Role.APPROVER}), escalate_to="finance"))


@dataclass
class Life:
    """The model: what an approval is, said without fingerprints, versions or SQL."""

    left: int = 4 * HOUR
    amount: int = 150
    status: str = "pending"
    yes: set[str] = field(default_factory=set[str])
    # Lender, delegate, and for how many seconds still; in the order they were made.
    lent: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    # by voter, whose vote it was and under which capacity it counts
    persons: dict[str, str] = field(default_factory=dict[str, str])
    escalated: bool = False
    resumed: bool = False

    def current(self) -> str:
        return "expired" if self.status == "pending" and self.left <= 0 else self.status

    def acts_as(self, name: str) -> str | None:
        """The person whose vote `name` gives; None for people who may not decide."""
        if name in self.entitled():
            return name
        lenders = (lender for lender, to, left in self.lent if to == name and left > 0 and lender != "rita")
        return next((lender for lender in lenders if lender in self.entitled()), None)

    def entitled(self) -> set[str]:
        finance = FINANCE if self.amount > 100 or self.escalated else set[str]()
        return APPROVERS | finance

    def is_met(self) -> bool:
        votes = {self.persons[name] for name in self.yes}
        amount = votes & (APPROVERS | (FINANCE if self.escalated else set[str]()))
        if self.amount > 100:
            return len(amount) >= 2 and bool(votes & FINANCE)
        return len(amount) >= 1

    def may_say_yes(self, name: str) -> bool:
        return name != "rita" and self.current() == "pending" and self.acts_as(name) is not None

    def approve(self, name: str) -> bool:
        person = self.acts_as(name)
        gave = {self.persons[each] for each in self.yes} | self.yes
        if not self.may_say_yes(name) or person is None or gave & {name, person}:
            return False
        self.yes.add(name)
        self.persons[name] = person
        self.status = "approved" if self.is_met() else "pending"
        return True

    def reject(self, name: str) -> bool:
        if not self.may_say_yes(name):
            return False
        self.status = "rejected"
        return True

    def edit(self, name: str, amount: int) -> bool:
        if not self.may_say_yes(name) or amount == self.amount:
            return False
        person = self.acts_as(name)
        assert person is not None
        self.amount, self.yes = amount, {name}
        self.persons[name] = person
        self.status = "approved" if self.is_met() else "pending"
        return True

    def lend(self, name: str, to: str, seconds: int) -> bool:
        if to == name or (name not in APPROVERS | {"rita"} and name not in FINANCE):
            return False
        self.lent.append((name, to, seconds))
        return True


class _Machine(RuleBasedStateMachine):
    """Subclasses say how a database is opened and whether everything is gone between two lives."""

    clock: FrozenClock
    open: Callable[[], Awaitable[Database]]
    lives = 0

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.db = self.runner.run(type(self).open())
        self.store = ApprovalStore(self.db)
        self.life = Life()
        self.delegations: list[Delegation] = []
        type(self).lives += 1
        call = replace(CALL, tool_call_id=f"call_{type(self).lives}")
        opened = waiting(STRICT, call, self.clock.micros())
        self.id = opened.id
        assert self.write(lambda batch: self.store.open(batch, opened))

    @rule(name=NAMES)
    def approve(self, name: str) -> None:
        assert self.say(name, "approve") == self.life.approve(name)

    @rule(name=NAMES)
    def reject(self, name: str) -> None:
        assert self.say(name, "reject") == self.life.reject(name)

    @rule(name=NAMES)
    def ask(self, name: str) -> None:
        assert self.say(name, "info") == self.life.may_say_yes(name)

    @rule(name=NAMES, amount=AMOUNTS)
    def edit(self, name: str, amount: int) -> None:
        edit = Edit({"order_id": "A1", "amount": amount}, STRICT if amount > 100 else MILD)
        assert self.say(name, "edit", edit) == self.life.edit(name, amount)

    @rule(name=NAMES, to=NAMES, hours=st.sampled_from([1, 5]))
    def lend(self, name: str, to: str, hours: int) -> None:
        lender = PEOPLE[name].principal
        try:
            made = lent(lender, to, hours / 24, None, self.now())
        except (DelegationInvalid, NothingToDelegate):
            assert not self.life.lend(name, to, 0)
            return
        assert self.write(lambda batch: self.store.delegations.add(batch, made))
        self.delegations.append(made)
        assert self.life.lend(name, to, hours * HOUR)

    @rule(name=NAMES)
    def take_back(self, name: str) -> None:
        for made in self.delegations:
            if made.lender == name:
                assert self.write(lambda batch, made=made: self.store.delegations.revoke(batch, "acme", made.id, name))
        self.life.lent = [each for each in self.life.lent if each[0] != name]

    @rule(names=st.lists(NAMES, min_size=2, max_size=6, unique=True))
    def all_approve_what_they_saw(self, names: list[str]) -> None:
        """Of votes that were made on the same look, at most one is taken; which one is left to chance."""
        seen = self.look()
        outcomes = {name: self.judge(seen, name, "approve", None) for name in names}

        async def together() -> list[bool]:
            return list(await asyncio.gather(*(self.recorded(each) for each in outcomes.values())))

        taken = [name for name, done in zip(outcomes, self.runner.run(together()), strict=True) if done]
        assert len(taken) == min(1, sum(isinstance(each, Recorded) for each in outcomes.values()))
        assert all(self.life.approve(name) for name in taken)

    @rule(name=NAMES, other=NAMES)
    def decide_on_what_was_shown_before(self, name: str, other: str) -> None:
        """A look from before somebody's edit is worth nothing after it."""
        old = self.look()
        self.edit(other, 90 if self.life.amount != 90 else 120)
        changed = self.look().approval.version != old.approval.version
        outcome = self.judge(old, name, "approve", None)
        done = self.record(outcome)
        assert not (changed and done)
        if done:
            assert self.life.approve(name)

    @rule(minutes=st.sampled_from([1, 59, 61, 120, 200]))
    def time_passes(self, minutes: int) -> None:
        self.clock.advance(minutes * 60)
        self.life.left -= minutes * 60
        self.life.lent = [(lender, to, left - minutes * 60) for lender, to, left in self.life.lent]

    @rule()
    def sweep(self) -> None:
        assert self.write(self.store.expire_due)
        self.life.status = self.life.current()
        for due in self.runner.run(self.store.due_for_escalation()):
            if due.id == self.id:
                assert self.write(lambda batch, due=due: self.store.escalate(batch, due) and None)
                self.life.escalated = True

    @rule()
    def resume(self) -> None:
        done = self.write(lambda batch: self.store.mark_resumed(batch, "acme", self.id))
        assert done == (self.life.status != "pending" and not self.life.resumed)
        self.life.resumed = self.life.resumed or done

    @invariant()
    def is_what_the_model_is(self) -> None:
        seen, life = self.look(), self.life
        approval = seen.approval
        assert approval.status == life.status
        assert approval.status_at(seen.at) == life.current()
        assert approval.call.arguments["amount"] == life.amount
        assert (approval.decided_at is None) == (life.status == "pending")
        if life.status == "pending":
            assert bool(missing(approval, seen.votes)) == (not life.is_met())
        assert (permit(approval, approval.call) is None) == (life.status == "approved")
        assert self.listed(self.runner.run(self.store.list_pending("acme"))) == (life.current() == "pending")
        unresumed = self.listed(self.runner.run(self.store.decided_not_resumed()))
        assert unresumed == (life.status != "pending" and not life.resumed)

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return

        for each in self.delegations:
            self.write(lambda batch, each=each: self.store.delegations.revoke(batch, "acme", each.id, "teardown"))

        async def leave() -> None:
            async with self.db.batch() as batch:
                self.store.withdraw(batch, "acme", "turn_1", "the life is over")
            with contextlib.suppress(Conflict):
                async with self.db.batch() as batch:
                    self.store.mark_resumed(batch, "acme", self.id)
            await self.db.close()

        self.runner.run(leave())
        self.runner.close()

    def say(self, name: str, decision: str, edit: Edit | None = None) -> bool:
        return self.record(self.judge(self.look(), name, decision, edit))

    def judge(self, seen: Seen, name: str, decision: Any, edit: Edit | None) -> Recorded | Refusal:
        ballot = Ballot(decision, seen.approval.fingerprint, "a reason", edit)
        return vote(seen.approval, seen.votes, self.voter(name), ballot, seen.at)

    def voter(self, name: str) -> Voter:
        return replace(PEOPLE[name], lent=self.runner.run(self.store.delegations.lent_to("acme", name)))

    def now(self) -> int:
        return self.runner.run(self.store.now())

    def look(self) -> Seen:
        seen = self.runner.run(self.store.look("acme", self.id))
        assert seen is not None
        return seen

    def listed(self, approvals: Any) -> bool:
        return any(isinstance(each, Approval) and each.id == self.id for each in approvals)

    def record(self, outcome: Recorded | Refusal) -> bool:
        return self.runner.run(self.recorded(outcome))

    async def recorded(self, outcome: Recorded | Refusal) -> bool:
        if isinstance(outcome, Refusal):
            return False
        return await self.written(lambda batch: self.store.record(batch, outcome))

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
    async def begin() -> None:
        db = await open()
        await prepare(db)
        await db.close()

    asyncio.run(begin())
    machine = type("Machine", (_Machine,), {"open": staticmethod(open), "clock": clock})
    few = settings(
        max_examples=examples,
        stateful_step_count=12,
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


def test_an_approval_lives_as_the_model_on_sqlite(sqlite_url: str, clock: FrozenClock, no_loop: None) -> None:
    async def open_sqlite() -> Database:
        return SqliteDatabase(Path(sqlite_url.removeprefix("sqlite:///")), clock)

    _run(clock, open_sqlite, 60)


@pytest.mark.postgres
def test_an_approval_lives_as_the_model_on_postgresql(postgres_url: str, clock: FrozenClock, no_loop: None) -> None:
    async def open_postgres() -> Database:
        return await PostgresDatabase.connect(postgres_url, clock, connections=3)

    _run(clock, open_postgres, 15)
