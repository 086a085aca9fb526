"""Threads for tools that block: bounded, and never in the way of the process's end."""

import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class ToolThreads:
    """At most `most` threads, begun when needed and kept.

    A thread that is stuck in a tool keeps its place until the tool returns: what a slow system costs stays bounded.
    The threads are daemons, because the standard pool would wait for a stuck tool when the process ends.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads = 0
        self._free = 0
        self._closed = False

    def submit(self, function: Callable[[], Any]) -> "Future[Any]":
        """Run `function` in a thread, in the caller's context, as soon as one is free.

        A future that can be cancelled has not begun.
        """
        future: Future[Any] = Future()
        context = contextvars.copy_context()
        with self._lock:
            if self._closed:
                raise RuntimeError("the tool threads are closed")
            self._work.put((future, lambda: context.run(function)))
            if self._free > 0:
                self._free -= 1
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._run, name=f"handrail-tool-{self._threads}", daemon=True).start()
        return future

    def close(self) -> None:
        """Take no more work and let idle threads end; running tools are left to themselves."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            _answer(*item)
            del item
            with self._lock:
                self._free += 1


def _answer(future: "Future[Any]", function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - a tool that calls exit() ends its call, not our thread
        future.set_exception(error)
