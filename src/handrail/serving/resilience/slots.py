"""Places by key, handed out in turn: the bounded queue under bulkheads and admission."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

# Its own line is full, all lines together are, no place came free in time, or nobody is let in any more.
Refusal = Literal["line_full", "full", "late", "closed"]
Waiter = asyncio.Future[Refusal | None]


class _Line:
    """One key: who runs and who waits."""

    __slots__ = ("is_listed", "key", "limit", "running", "waiting")

    def __init__(self, key: str, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.running = 0
        self.waiting: deque[Waiter] = deque()
        self.is_listed = False

    @property
    def may_go(self) -> bool:
        return bool(self.waiting) and self.running < self.limit


class FairSlots:
    """At most `most_running` places in all and `limit_of(key)` for each key; a free one goes to the next key in turn.

    A place is handed over, not thrown open: who gives one back grants it to a waiter in the same step, so nobody
    who comes later can take it. Nothing is kept of a key without anybody running or waiting. For one event loop.
    """

    def __init__(
        self, limit_of: Callable[[str], int], *, most_running: int, most_waiting: int, most_waiting_each: int
    ) -> None:
        self.running = 0
        self.waiting = 0
        self._limit_of = limit_of
        self._most_running = most_running
        self._most_waiting = most_waiting
        self._most_waiting_each = most_waiting_each
        self._closed = False
        self._lines: dict[str, _Line] = {}
        # Lines with somebody waiting and room under their own limit, in the order of their turns.
        self._turns: deque[_Line] = deque()

    def __len__(self) -> int:
        """Keys with anybody running or waiting."""
        return len(self._lines)

    def waiting_for(self, key: str) -> int:
        line = self._lines.get(key)
        return len(line.waiting) if line else 0

    def running_for(self, key: str) -> int:
        line = self._lines.get(key)
        return line.running if line else 0

    def take(self, key: str) -> bool:
        """A place at once, if one is free. While anybody waits who could have it, none is."""
        if self.running >= self._most_running or self._closed:
            return False
        line = self._lines.get(key)
        if line is None:
            line = self._begin(key)
        elif line.running >= line.limit:
            return False
        self.running += 1
        line.running += 1
        return True

    def seize(self, key: str) -> None:
        """A place whatever the limits say, for what must go on; as long as they are passed, nobody else is let in."""
        line = self._lines.get(key) or self._begin(key)
        self.running += 1
        line.running += 1

    async def wait(self, key: str, seconds: float) -> Refusal | None:
        """A place within `seconds` (`None`), or why there is none. Cancelled, it leaves no trace."""
        refusal = self._refusal(key, seconds)
        if refusal is not None:
            return refusal
        line = self._lines.get(key) or self._begin(key)
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        line.waiting.append(waiter)
        self.waiting += 1
        self._list(line)
        timer = loop.call_later(seconds, self._expire, line, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result() is None:
                # The place was granted in the same moment; it goes to the next.
                self.give_back(key)
            else:
                self._leave(line, waiter)
            raise
        finally:
            timer.cancel()

    def give_back(self, key: str) -> None:
        """Whoever ran is done; the place goes to the next in turn."""
        line = self._lines[key]
        self.running -= 1
        line.running -= 1
        if line.waiting:
            self._list(line)
        elif not line.running:
            del self._lines[key]
        if self._turns:
            self._hand_out()

    def close(self) -> None:
        """Let nobody in any more and send away who waits; who runs goes on."""
        self._closed = True
        for line in list(self._lines.values()):
            for waiter in line.waiting:
                if not waiter.done():
                    waiter.set_result("closed")
            self.waiting -= len(line.waiting)
            line.waiting.clear()
            self._forget(line)
        self._turns.clear()

    def _refusal(self, key: str, seconds: float) -> Refusal | None:
        if self._closed:
            return "closed"
        if self.waiting_for(key) >= self._most_waiting_each:
            return "line_full"
        if self.waiting >= self._most_waiting:
            return "full"
        return "late" if seconds <= 0 else None

    def _begin(self, key: str) -> _Line:
        limit = self._limit_of(key)
        if limit < 1:
            raise ValueError(f"{key!r} may run {limit!r} at once; the least is 1")
        line = self._lines[key] = _Line(key, limit)
        return line

    def _list(self, line: _Line) -> None:
        if line.may_go and not line.is_listed:
            line.is_listed = True
            self._turns.append(line)

    def _hand_out(self) -> None:
        while self._turns and self.running < self._most_running:
            line = self._turns.popleft()
            line.is_listed = False
            if line.running < line.limit:
                self._grant(line)
            self._list(line)

    def _grant(self, line: _Line) -> None:
        while line.waiting:
            waiter = line.waiting.popleft()
            self.waiting -= 1
            # One that was cancelled may still stand here until its task has run.
            if not waiter.done():
                self.running += 1
                line.running += 1
                waiter.set_result(None)
                return

    def _expire(self, line: _Line, waiter: Waiter) -> None:
        if not waiter.done():
            self._leave(line, waiter)
            waiter.set_result("late")

    def _leave(self, line: _Line, waiter: Waiter) -> None:
        with suppress(ValueError):
            line.waiting.remove(waiter)
            self.waiting -= 1
        if line.is_listed and not line.waiting:
            # While nothing ends, nobody's turn comes: lines of those who gave up would pile up.
            line.is_listed = False
            self._turns.remove(line)
        self._forget(line)

    def _forget(self, line: _Line) -> None:
        if not line.running and not line.waiting and self._lines.get(line.key) is line:
            del self._lines[line.key]
