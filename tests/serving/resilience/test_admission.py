import asyncio
import gc
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from handrail.core.clock import FrozenClock
from handrail.serving.resilience import Admission, AdmissionClosed, AdmissionLimits, Overloaded, Place, TenantOverloaded


def made(clock: FrozenClock | None = None, **limits: Any) -> Admission:
    given = {"running": 2, "running_per_tenant": 2, "waiting": 10, "waiting_per_tenant": 5, "wait_seconds": 60.0}
    return Admission(clock or FrozenClock(), AdmissionLimits(**{**given, **limits}))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def queue(admission: Admission, *tenants: str) -> list["asyncio.Task[Place]"]:
    """Turns that stand in line, in this order."""
    tasks = [asyncio.create_task(admission.admit(tenant).enter()) for tenant in tenants]
    await settle()
    return tasks


async def end(tasks: list["asyncio.Task[Place]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class TestAdmit:
    async def test_a_turn_has_its_place_until_it_leaves(self):
        admission = made()
        async with admission.admit("acme"):
            assert (admission.running, admission.tenants) == (1, 1)
        assert (admission.running, admission.tenants) == (0, 0)

    async def test_a_failing_turn_leaves_too_and_leaving_twice_is_leaving_once(self):
        admission = made()
        other = await admission.admit("acme").enter()
        place = admission.admit("acme")
        with pytest.raises(ZeroDivisionError):
            async with place:
                _ = 1 / 0
        place.leave()
        assert admission.running == 1
        other.leave()

    async def test_one_that_leaves_lets_one_in(self):
        admission = made()
        first, _ = await admission.admit("acme").enter(), await admission.admit("acme").enter()
        tasks = await queue(admission, "acme", "acme")
        first.leave()
        await settle()
        assert [task.done() for task in tasks] == [True, False]
        assert (admission.running, admission.waiting) == (2, 1)
        await end(tasks)

    async def test_nobody_who_comes_later_takes_the_place_of_one_who_waits(self):
        admission = made(running=1)
        first = await admission.admit("acme").enter()
        (waiting,) = await queue(admission, "acme")
        first.leave()
        (late,) = await queue(admission, "other")
        assert waiting.done()
        assert not late.done()
        await end([late])

    async def test_one_tenants_line_takes_every_place_that_comes_free(self):
        admission = made(running=2, running_per_tenant=2)
        first, second = await admission.admit("a").enter(), await admission.admit("b").enter()
        tasks = await queue(admission, "c", "c")
        first.leave()
        second.leave()
        await settle()
        assert all(task.done() for task in tasks)

    async def test_a_tenant_at_its_limit_leaves_free_places_to_others(self):
        admission = made(running=3, running_per_tenant=2)
        tasks = await queue(admission, "greedy", "greedy", "greedy", "modest")
        assert [task.done() for task in tasks] == [True, True, False, True]
        await end(tasks)


class TestRefusal:
    async def test_a_tenant_whose_line_is_full_is_refused_and_others_are_not(self):
        admission = made(waiting_per_tenant=2)
        tasks = await queue(admission, *["greedy"] * 4)
        with pytest.raises(TenantOverloaded, match="2 turns of this tenant run and 2 wait; try again in 2 s") as no:
            await admission.admit("greedy").enter()
        assert (no.value.code, no.value.retryable, no.value.retry_after_seconds) == ("tenant_overloaded", True, 2.0)
        tasks += await queue(admission, "modest")
        assert admission.waiting == 3
        await end(tasks)

    async def test_everybody_is_refused_when_all_lines_together_are_full(self):
        admission = made(waiting=3)
        tasks = await queue(admission, *"abcde")
        with pytest.raises(Overloaded, match="2 turns run and 3 wait") as no:
            await admission.admit("f").enter()
        assert no.value.code == "overloaded"
        await end(tasks)

    async def test_who_waited_too_long_is_refused_with_whose_fault_it_is(self):
        admission = made(running_per_tenant=1, wait_seconds=0.01)
        _, _ = await admission.admit("a").enter(), await admission.admit("b").enter()
        with pytest.raises(TenantOverloaded):
            await admission.admit("a").enter()
        with pytest.raises(Overloaded, match="the server is full"):
            await admission.admit("c").enter()
        assert (admission.waiting, admission.tenants) == (0, 2)

    async def test_the_wait_that_is_told_follows_how_long_turns_take(self):
        clock = FrozenClock()
        admission = made(clock, running=1, waiting=0)
        for _ in range(100):
            async with admission.admit("acme"):
                clock.advance(10)
        async with admission.admit("acme"):
            with pytest.raises(Overloaded) as no:
                await admission.admit("other").enter()
        assert no.value.retry_after_seconds == 10.0

    @pytest.mark.parametrize(
        "wrong", [{"running": 0}, {"running_per_tenant": 0}, {"waiting": -1}, {"wait_seconds": -0.1}]
    )
    def test_limits_that_let_nobody_in_are_a_mistake(self, wrong: dict[str, Any]):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AdmissionLimits(**wrong)


class TestCancellation:
    async def test_one_who_gives_up_leaves_the_line(self):
        admission = made(running=1)
        first = await admission.admit("acme").enter()
        tasks = await queue(admission, "acme", "acme")
        await end(tasks[:1])
        assert admission.waiting == 1
        first.leave()
        assert (await tasks[1]) is not None

    async def test_a_place_granted_to_one_who_is_just_giving_up_goes_to_the_next(self):
        admission = made(running=1)
        first = await admission.admit("acme").enter()
        tasks = await queue(admission, "acme", "other")
        first.leave()
        tasks[0].cancel()
        await settle()
        assert tasks[0].cancelled()
        assert tasks[1].done()
        assert admission.running == 1

    async def test_one_who_gave_up_in_the_same_moment_is_not_granted_a_place(self):
        admission = made(running=1)
        first = await admission.admit("acme").enter()
        tasks = await queue(admission, "acme", "other")
        tasks[0].cancel()
        first.leave()
        await settle()
        assert tasks[1].done()
        assert (admission.running, admission.waiting, admission.tenants) == (1, 0, 1)


class TestClose:
    async def test_sends_away_who_waits_and_who_comes_and_lets_turns_end(self):
        admission = made(running=1)
        first = await admission.admit("acme").enter()
        (waiting,) = await queue(admission, "acme")
        admission.close()
        with pytest.raises(Overloaded, match="shutting down"):
            await waiting
        first.leave()
        with pytest.raises(Overloaded, match="shutting down"):
            await admission.admit("other").enter()
        assert (admission.running, admission.waiting, admission.tenants) == (0, 0, 0)


class TestFairness:
    async def test_a_newcomer_waits_for_one_turn_of_a_tenant_with_a_long_line(self):
        admission = made(running=1, waiting=200, waiting_per_tenant=100)
        place = await admission.admit("greedy").enter()
        greedy = await queue(admission, *["greedy"] * 50)
        (modest,) = await queue(admission, "modest")
        place.leave()
        await settle()
        (await greedy[0]).leave()
        await settle()
        assert modest.done()
        await end(greedy)

    @given(
        lines=st.lists(st.integers(1, 8), min_size=2, max_size=5),
        running=st.integers(1, 3),
        order=st.randoms(use_true_random=False),
    )
    @settings(deadline=None, max_examples=40)
    def test_places_go_round_the_tenants_that_wait(self, lines: list[int], running: int, order: Any):
        asyncio.run(self.goes_round(lines, running, order))

    async def goes_round(self, lines: list[int], running: int, order: Any) -> None:
        admission = made(running=running, running_per_tenant=running, waiting=100, waiting_per_tenant=100)
        places = [await admission.admit("first").enter() for _ in range(running)]
        arrivals = [f"tenant {number}" for number, length in enumerate(lines) for _ in range(length)]
        order.shuffle(arrivals)
        served: Counter[str] = Counter()

        async def turn(tenant: str) -> None:
            places.append(await admission.admit(tenant).enter())
            served[tenant] += 1

        tasks = [asyncio.create_task(turn(tenant)) for tenant in arrivals]
        await settle()
        wanted = Counter(arrivals)
        while places:
            places.pop(0).leave()
            await settle()
            still = [tenant for tenant in wanted if served[tenant] < wanted[tenant]]
            # Nobody who still waits is more than one place behind anybody.
            assert all(served[tenant] >= max(served.values()) - 1 for tenant in still)
        await asyncio.gather(*tasks)
        assert served == wanted


class AdmissionMachine(RuleBasedStateMachine):
    """Turns come, leave and give up in any order, with the loop running on or not in between."""

    LIMITS = AdmissionLimits(running=3, running_per_tenant=2, waiting=6, waiting_per_tenant=3, wait_seconds=3600)

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.admission = Admission(FrozenClock(), self.LIMITS)
        self.tasks: list[tuple[str, asyncio.Task[Place]]] = []
        self.cancelled: set[asyncio.Task[Place]] = set()

    @rule(tenant=st.sampled_from("abc"))
    def come(self, tenant: str) -> None:
        self.tasks.append((tenant, self.loop.create_task(self.admission.admit(tenant).enter())))

    @precondition(lambda self: self.inside())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.inside()))
        self.tasks.remove(chosen)
        chosen[1].result().leave()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        _, task = data.draw(st.sampled_from(self.tasks))
        self.cancel(task)

    @rule()
    def one_step(self) -> None:
        self.run(1)

    @rule()
    def settles(self) -> None:
        """With the loop run dry, what is inside is what is counted and nobody waits without a reason."""
        self.run(10)
        self.tasks = [(tenant, task) for tenant, task in self.tasks if not self.is_refused(task)]
        inside = Counter(tenant for tenant, _ in self.inside())
        waiting = Counter(tenant for tenant, task in self.tasks if not task.done())
        admission = self.admission
        assert admission.running == inside.total()
        assert admission.waiting == waiting.total()
        assert admission.tenants == len(inside | waiting)
        if admission.running < self.LIMITS.running:
            assert all(inside[tenant] == self.LIMITS.running_per_tenant for tenant in waiting)

    @invariant()
    def keeps_its_limits(self) -> None:
        inside = Counter(tenant for tenant, _ in self.inside())
        assert self.admission.running <= self.LIMITS.running
        assert self.admission.waiting <= self.LIMITS.waiting
        assert all(number <= self.LIMITS.running_per_tenant for number in inside.values())

    def inside(self) -> list[tuple[str, "asyncio.Task[Place]"]]:
        return [
            (tenant, task)
            for tenant, task in self.tasks
            if task.done() and not task.cancelled() and task.exception() is None
        ]

    def cancel(self, task: "asyncio.Task[Place]") -> None:
        if not task.done():
            task.cancel()
            self.cancelled.add(task)

    def is_refused(self, task: "asyncio.Task[Place]") -> bool:
        if not task.done():
            return False
        if task.cancelled():
            assert task in self.cancelled
            return True
        error = task.exception()
        assert error is None or isinstance(error, Overloaded)
        return error is not None

    def run(self, steps: int) -> None:
        async def some() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.loop.run_until_complete(some())

    def teardown(self) -> None:
        for _, task in self.tasks:
            self.cancel(task)
        try:
            self.settles()
            for _, task in self.inside():
                task.result().leave()
            assert (self.admission.running, self.admission.waiting, self.admission.tenants) == (0, 0, 0)
        finally:
            self.loop.close()


AdmissionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AdmissionMachine.TestCase


class TestMemory:
    async def test_a_wait_that_has_ended_leaves_no_timer(self):
        admission = made(running=1, wait_seconds=3600)
        place = await admission.admit("acme").enter()
        gc.collect()
        before = sum(type(each) is asyncio.TimerHandle for each in gc.get_objects())
        tasks = await queue(admission, "acme", "other")
        assert sum(type(each) is asyncio.TimerHandle for each in gc.get_objects()) == before + 2
        place.leave()
        await end(tasks)
        waits = [each for each in gc.get_objects() if type(each) is asyncio.TimerHandle and not each.cancelled()]
        assert len(waits) <= before

    async def test_overload_from_ever_new_tenants_leaves_nothing_behind(self):
        admission = made(running=1, waiting=4, wait_seconds=0.0005)
        place = await admission.admit("long").enter()

        async def flood(first: int) -> None:
            async def one(number: int) -> None:
                with pytest.raises(Overloaded):
                    await admission.admit(f"tenant {number}").enter()

            for start in range(first, first + 500, 10):
                await asyncio.gather(*(one(start + number) for number in range(10)))

        await flood(0)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        await flood(1000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert admission.tenants == 1
        assert after - before < 20_000
        place.leave()


class TestAPlaceThatIsTaken:
    async def test_is_not_taken_twice(self):
        admission = made()
        async with admission.admit("a") as place, place:
            assert admission.running == 1
        assert admission.running == 0

    async def test_moves_to_who_will_leave_it(self):
        admission = made()
        async with admission.admit("a") as place:
            moved = place.moved()
        assert admission.running == 1
        moved.leave()
        moved.leave()
        assert admission.running == 0

    async def test_knows_how_long_it_stood_in_line(self):
        clock = FrozenClock()
        admission = made(clock, running=1, running_per_tenant=1)
        first = await admission.admit("a").enter()
        second = admission.admit("a")
        entering = asyncio.create_task(second.enter())
        await settle()
        clock.advance(3)
        first.leave()
        await entering
        assert (first.waited_seconds, second.waited_seconds) == (0.0, 3.0)


class TestSeize:
    async def test_goes_beyond_the_limits_and_then_nobody_is_let_in_until_they_are_kept_again(self):
        admission = made(running=1, running_per_tenant=1)
        first = await admission.admit("a").enter()
        seized = admission.admit("b").seize()
        waiting = await queue(admission, "c")
        assert admission.running == 2
        first.leave()
        await settle()
        assert (admission.running, admission.waiting) == (1, 1)
        seized.leave()
        assert (await waiting[0]) is not None
        assert admission.running == 1

    async def test_is_for_a_closed_one_too(self):
        admission = made()
        admission.close()
        admission.admit("a").seize().leave()
        assert admission.running == admission.tenants == 0


class TestRefusals:
    async def test_are_told_by_their_code(self):
        told: list[str] = []
        admission = Admission(
            FrozenClock(),
            AdmissionLimits(running=1, running_per_tenant=1, waiting_per_tenant=0),
            on_refused=told.append,
        )
        await admission.admit("a").enter()
        with pytest.raises(TenantOverloaded):
            await admission.admit("a").enter()
        admission.close()
        with pytest.raises(AdmissionClosed):
            await admission.admit("b").enter()
        assert told == ["tenant_overloaded", "shutting_down"]
