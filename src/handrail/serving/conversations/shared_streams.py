"""Live events of this process's turns for followers on other replicas, and theirs for followers here.

One stream a turn on the shared server, bounded in length and time, written in the background a few times a second at
most. Open: without the server a follower elsewhere gets the whole answer at its end, from the transcript.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from handrail.core import events
from handrail.core.events import Event
from handrail.shared_state import Unreachable, Valkey
from handrail.shared_state.valkey import Client

WRITE_SECONDS = 0.03
POLL_SECONDS = 0.05
# In entries, each of which holds all events of a moment.
MOST_ENTRIES = 4_000
KEPT_SECONDS = 600
MOST_UNWRITTEN = 20_000
MOST_READ = 500
Waiting = dict[str, list[Event]]


class SharedStreams:
    """Build it, `start` it, `close` it. `tap` is what a turn's stream calls with each event.

    Args:
        on_lost: told how many events could not be written.
    """

    def __init__(self, valkey: Valkey, *, on_lost: Callable[[int], None] | None = None) -> None:
        self._valkey = valkey
        self._on_lost = on_lost
        self._waiting: Waiting = {}
        self._count = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tap(self, turn_id: str, event: Event) -> None:
        """Note one event of a turn that runs here; neither waits nor raises."""
        if not self._valkey.is_up or self._count >= MOST_UNWRITTEN:
            self._lose(1)
            return
        self._waiting.setdefault(turn_id, []).append(event)
        self._count += 1
        self._wake.set()

    async def follow(self, turn_id: str, after: tuple[int, int] | None) -> AsyncIterator[list[Event] | None]:
        """What another replica writes of a turn after `after` = (epoch, seq), until its last event.

        Yields None when there was nothing for a while, so that the caller can look whether the turn still runs. Ends
        early when something is missing or the server is: the transcript has it.
        """
        at, quiet = "-", 0
        epoch, seq = after or (0, 0)
        while True:
            try:
                found = await self._valkey.ask(
                    lambda client, at=at: client.xrange(_key(turn_id), min=at, max="+", count=MOST_READ)
                )
            except Unreachable:
                return
            batch: list[Event] = []
            for entry, fields in found:
                at = f"({entry.decode()}"
                for event in _decoded(fields):
                    if (event.epoch, event.seq) <= (epoch, seq):
                        continue
                    if event.seq != (seq + 1 if event.epoch == epoch else 1):
                        return
                    epoch, seq = event.epoch, event.seq
                    batch.append(event)
            if batch:
                quiet = 0
                yield batch
                if batch[-1].name in events.ENDS_STREAM:
                    return
            elif not found:
                quiet += 1
                if quiet % 20 == 0:
                    yield None
                await asyncio.sleep(POLL_SECONDS)

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(WRITE_SECONDS)
            self._wake.clear()
            waiting, self._waiting, count, self._count = self._waiting, {}, self._count, 0
            try:
                await self._valkey.ask(lambda client, waiting=waiting: _written(client, waiting))
            except Unreachable:
                self._lose(count)

    def _lose(self, count: int) -> None:
        if self._on_lost is not None:
            self._on_lost(count)


async def _written(client: Client, waiting: Waiting) -> None:
    pipeline = client.pipeline(transaction=False)
    for turn_id, noted in waiting.items():
        text = json.dumps([[each.epoch, each.seq, each.name, each.data] for each in noted])
        pipeline.xadd(_key(turn_id), {"e": text}, maxlen=MOST_ENTRIES, approximate=True)
        pipeline.expire(_key(turn_id), KEPT_SECONDS)
    await pipeline.execute()


def _decoded(fields: Any) -> list[Event]:
    return [Event(*each) for each in json.loads(fields[b"e"])]


def _key(turn_id: str) -> str:
    return f"handrail:events:{turn_id}"
