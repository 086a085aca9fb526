"""The live events of one turn: a bounded ring in memory that any number of clients follow.

A turn runs on its own and writes here; a client that leaves changes nothing. Text is joined over at most
`COALESCE_SECONDS`, so that a fast model costs a few events and not one a token.
"""

import asyncio
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

import orjson

from handrail.core import events
from handrail.core.events import Event

COALESCE_SECONDS = 0.03
MOST_EVENTS = 2_000
MOST_FINISHED = 512
Tap = Callable[[str, Event], None]
# The tenant and the subject whose conversation a turn belongs to.
Whose = tuple[str, str]


class TurnStream:
    """One turn's events in order, from `<epoch>.1` on. Used from one event loop only.

    A turn that waits has epoch 0, and its stream goes on with the epoch of the process that runs it: this one, or
    another one whose events are mirrored here under their own ids.

    Attributes:
        said_at: when the first word of the answer was there, by `time.perf_counter`.

    Args:
        tap: called with the turn's id and each event, for followers on other replicas; neither waits nor raises.
    """

    def __init__(self, turn_id: str, epoch: int, tap: Tap | None = None) -> None:
        self.turn_id = turn_id
        self.epoch = epoch
        self.seq = 0
        self.result: Mapping[str, Any] | None = None
        self._tap = tap
        self._abandoned: Exception | None = None
        self._events: list[Event] = []
        self._dropped = 0
        self._last_dropped: Event | None = None
        self._text: list[str] = []
        self.said_at: float | None = None
        self._pending: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._last_flush = 0.0
        self._loop = asyncio.get_running_loop()
        self._followers: list[asyncio.Future[None]] = []
        self._done: asyncio.Future[None] | None = None

    @property
    def text(self) -> str:
        """The visible answer so far, as it will be stored."""
        return "".join(self._text)

    @property
    def is_over(self) -> bool:
        return self.result is not None or self._abandoned is not None

    def publish(self, name: str, data: Mapping[str, Any]) -> None:
        """Append an event; text that waits to be joined goes out before it."""
        self.flush()
        self._append(name, data)

    def flush(self) -> None:
        """Send text that waits to be joined."""
        if self._pending:
            self._flush()

    def mirror(self, event: Event) -> None:
        """Append an event of another process, under its own id, so that a client may go on there; it is not tapped."""
        if event.name == events.MESSAGE_DELTA:
            self._text.append(event.data["text"])
        elif event.name == events.MESSAGE_RESTARTED:
            self._text = [event.data["text"]]
        self.epoch, self.seq = event.epoch, event.seq
        self._keep(event)
        if event.name in events.ENDS_STREAM:
            self._end(event.data)

    def begin(self, epoch: int) -> None:
        """The turn has waited and runs here now."""
        self.epoch, self.seq = epoch, 0

    def say(self, text: str) -> None:
        """Append visible text."""
        if not text:
            return
        if self.said_at is None:
            self.said_at = time.perf_counter()
        self._text.append(text)
        self._pending.append(text)
        if self._timer is None:
            wait = self._last_flush + COALESCE_SECONDS - self._loop.time()
            if wait <= 0:
                self._flush()
            else:
                self._timer = self._loop.call_later(wait, self._flush)

    def restart(self, text: str) -> None:
        """Begin the visible text anew with what is known of it: a turn that another process had begun goes on here."""
        self._pending.clear()
        self._text = [text] if text else []
        self.publish(events.MESSAGE_RESTARTED, {"text": text})

    def take_back(self, characters: int) -> None:
        """Void the last `characters` of the visible text; the followers are told what remains."""
        text = self.text
        self.restart(text[: len(text) - characters])

    def abandon(self, error: Exception) -> None:
        """No more events will come from this process; whoever waits gets `error`, followers come back elsewhere."""
        self._abandoned = error
        self._wake()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def finish(self, name: str, data: Mapping[str, Any]) -> None:
        """The last event; `data` is also what a client that does not stream is given."""
        self.publish(name, data)
        self._end(data)

    def _end(self, result: Mapping[str, Any]) -> None:
        self.result = result
        self._wake()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def wait(self) -> Mapping[str, Any]:
        """The data of the last event, once it is there."""
        if not self.is_over:
            if self._done is None:
                self._done = self._loop.create_future()
            await asyncio.shield(self._done)
        if self._abandoned is not None:
            raise self._abandoned
        assert self.result is not None
        return self.result

    async def follow(self, after: int = 0) -> AsyncIterator[Event]:
        """Every event with a seq above `after`, then live ones, until the last."""
        async for batch in self.batches(after):
            for event in batch:
                yield event

    async def batches(self, after: int = 0) -> AsyncIterator[list[Event]]:
        """`follow`, but what is there at once comes at once.

        A client that fell behind the ring gets `message.restarted` with the text up to the ring's first event.
        """
        at = self._place_after(after) if after else 0
        while True:
            batch: list[Event] = []
            if at < self._dropped:
                at, last = self._dropped, self._last_dropped
                assert last is not None, "something was dropped"
                text = {"text": self._text_at_ring_start()}
                batch.append(Event(last.epoch, last.seq, events.MESSAGE_RESTARTED, text))
            batch += self._events[at - self._dropped :]
            if batch:
                at = self._dropped + len(self._events)
                yield batch
            elif self.is_over:
                return
            else:
                await self._change()

    def _place_after(self, seq: int) -> int:
        """Where the events after this one of the current epoch begin, counted from the stream's first; before the ring
        for one that is no longer there."""
        seen = (self.epoch, seq)
        if self._last_dropped is not None and seen < (self._last_dropped.epoch, self._last_dropped.seq):
            return 0
        return self._dropped + bisect_right(self._events, seen, key=lambda each: (each.epoch, each.seq))

    async def _change(self) -> None:
        """Wait for the next event; every follower has a future of its own, so one that leaves takes nothing along."""
        changed = self._loop.create_future()
        self._followers.append(changed)
        await changed

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text = "".join(self._pending)
        self._pending.clear()
        self._last_flush = self._loop.time()
        self._append(events.MESSAGE_DELTA, {"text": text})

    def _append(self, name: str, data: Mapping[str, Any]) -> None:
        self.seq += 1
        event = Event(self.epoch, self.seq, name, data)
        if self._tap is not None:
            self._tap(self.turn_id, event)
        self._keep(event)

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) > MOST_EVENTS:
            half = MOST_EVENTS // 2
            self._last_dropped = self._events[half - 1]
            del self._events[:half]
            self._dropped += half
        self._wake()

    def _text_at_ring_start(self) -> str:
        """The text before the first event that is still in the ring; one that begins anew says all there is."""
        if any(event.name == events.MESSAGE_RESTARTED for event in self._events):
            return ""
        later = sum(len(event.data["text"]) for event in self._events if event.name == events.MESSAGE_DELTA)
        whole = self.text
        pending = sum(len(text) for text in self._pending)
        return whole[: len(whole) - later - pending]

    def _wake(self) -> None:
        followers, self._followers = self._followers, []
        for follower in followers:
            if not follower.done():
                follower.set_result(None)


class Streams:
    """The streams of this process: those that run, and the newest that ended, for clients that come back."""

    def __init__(self, tap: Callable[[Whose, str, Event], None] | None = None) -> None:
        self._tap = tap
        self._running: dict[str, TurnStream] = {}
        self._finished: OrderedDict[str, TurnStream] = OrderedDict()

    def open(self, turn_id: str, epoch: int, whose: Whose) -> TurnStream:
        stream = self._running.get(turn_id)
        if stream is not None and stream.epoch == 0 and not stream.is_over:
            stream.begin(epoch)
        elif stream is None or stream.epoch != epoch:
            tap = None if self._tap is None else partial(self._tap, whose)
            stream = self._running[turn_id] = TurnStream(turn_id, epoch, tap)
        return stream

    def close(self, turn_id: str) -> None:
        stream = self._running.pop(turn_id, None)
        if stream is not None:
            self._finished[turn_id] = stream
            if len(self._finished) > MOST_FINISHED:
                self._finished.popitem(last=False)

    def find(self, turn_id: str) -> TurnStream | None:
        return self._running.get(turn_id) or self._finished.get(turn_id)

    def __len__(self) -> int:
        return len(self._running)


def encode_sse(event: Event) -> bytes:
    """One event in the wire format of server-sent events."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.name.encode(), orjson.dumps(event.data))
