"""Bulkheads: one slow tool or model takes its own places and no others'."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from handrail.core.deadline import Deadline
from handrail.serving.resilience.policy import LEAST_RETRY_AFTER_SECONDS, NotAttempted
from handrail.serving.resilience.slots import FairSlots

UNBOUNDED = 1 << 62


class Overloaded(NotAttempted):
    """As much as may run at once runs already, and the queue is full or was too slow."""

    code = "overloaded"


class Slot:
    """One place in a bulkhead: give it back with `release`, or by leaving a `with` block."""

    __slots__ = ("_key", "_slots")

    def __init__(self, slots: FairSlots, key: str) -> None:
        self._slots: FairSlots | None = slots
        self._key = key

    def release(self) -> None:
        """Give the place to the next; a second time does nothing."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.give_back(self._key)

    def release_after(self, running: "asyncio.Future[Any]") -> None:
        """Keep the place until this has ended: a thread can't be stopped, and what it holds is not free."""
        slots, self._slots = self._slots, None
        if slots is not None:
            running.add_done_callback(lambda _: slots.give_back(self._key))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Bulkhead:
    """So many calls of one key at once, and so many more that wait in the order they came. For one event loop.

    Closed: who finds no place in time is refused, and its call is not made.

    Args:
        limit_of: how many calls of a key may run at once; asked when it is first seen, and after each time it was idle.
        most_waiting: calls that may wait for each key.
        wait_seconds: how long a call waits at most, within its deadline.
    """

    def __init__(self, limit_of: Callable[[str], int], *, most_waiting: int = 32, wait_seconds: float = 1.0) -> None:
        self._wait_seconds = wait_seconds
        self._own: dict[str, int] = {}
        self._slots = FairSlots(
            lambda key: self._own.get(key) or limit_of(key),
            most_running=UNBOUNDED,
            most_waiting=UNBOUNDED,
            most_waiting_each=most_waiting,
        )

    async def acquire(self, key: str, deadline: Deadline | None = None, *, most: int | None = None) -> Slot:
        """A place for one call: `with await bulkhead.acquire("tool:get_order", deadline): ...`.

        `most` is this key's own limit; a changed one holds from the next time that no call of the key runs.

        Raises:
            Overloaded: too many calls of this key run and wait.
        """
        if most is not None:
            self._own[key] = most
        if self._slots.take(key):
            return Slot(self._slots, key)
        seconds = self._wait_seconds if deadline is None else deadline.within(self._wait_seconds)
        refusal = await self._slots.wait(key, seconds)
        if refusal is None:
            return Slot(self._slots, key)
        why = f"{self._slots.waiting_for(key)} more wait" if refusal == "line_full" else f"none ended in {seconds:g} s"
        raise Overloaded(
            f"{key!r} was not called: {self._slots.running_for(key)} calls of it run and {why}; try again later",
            retry_after_seconds=LEAST_RETRY_AFTER_SECONDS,
        )

    def running(self, key: str) -> int:
        """Calls of this key that run now."""
        return self._slots.running_for(key)

    def __len__(self) -> int:
        """Keys with calls that run or wait."""
        return len(self._slots)
