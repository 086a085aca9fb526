"""Live events of this process's turns for followers on other replicas, and theirs for followers here.

One stream a turn on the shared server, bounded in length and time, written in the background a few times a second at
most. Where content is sealed it is sealed there too, under its user's key. Open: without the server, or the key, a
follower elsewhere gets the whole answer at its end, from the transcript.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from handrail.core import events
from handrail.core.errors import HandrailError
from handrail.core.events import Event
from handrail.db.sealed import Ciphers
from handrail.serving.conversations.stream import Whose
from handrail.shared_state import Unreachable, Valkey
from handrail.shared_state.valkey import Client

WRITE_SECONDS = 0.03
POLL_SECONDS = 0.05
# In entries, each of which holds all events of a moment.
MOST_ENTRIES = 4_000
KEPT_SECONDS = 600
MOST_UNWRITTEN = 20_000
MOST_READ = 500
# A field with the text of the events, or one with the same sealed.
PLAIN, SEALED = b"e", b"s"
Waiting = dict[tuple[Whose, str], list[Event]]


class SharedStreams:
    """Build it, `start` it, `close` it. `tap` is what a turn's stream calls with each event.

    Attributes:
        ciphers: the keys of users, where there are any.

    Args:
        on_lost: told how many events could not be written.
    """

    def __init__(self, valkey: Valkey, *, on_lost: Callable[[int], None] | None = None) -> None:
        self.ciphers: Ciphers | None = None
        self._valkey = valkey
        self._on_lost = on_lost
        self._waiting: Waiting = {}
        self._count = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tap(self, whose: Whose, turn_id: str, event: Event) -> None:
        """Note one event of a turn that runs here; neither waits nor raises."""
        if not self._valkey.is_up or self._count >= MOST_UNWRITTEN:
            self._lose(1)
            return
        self._waiting.setdefault((whose, turn_id), []).append(event)
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
                for event in await self._decoded(turn_id, fields):
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
            texts = [(key[1], fields) for key, noted in waiting.items() if (fields := await self._encoded(key, noted))]
            try:
                await self._valkey.ask(lambda client, texts=texts: _written(client, texts))
            except Unreachable:
                self._lose(count)

    def _lose(self, count: int) -> None:
        if self._on_lost is not None:
            self._on_lost(count)

    async def _encoded(self, key: tuple[Whose, str], noted: Sequence[Event]) -> dict[bytes, str] | None:
        """What is written; nothing without the key."""
        (tenant_id, subject), turn_id = key
        text = json.dumps([[each.epoch, each.seq, each.name, each.data] for each in noted])
        if self.ciphers is None:
            return {PLAIN: text}
        try:
            cipher = self.ciphers.at_hand(tenant_id, subject) or await self.ciphers.of(tenant_id, subject)
        except HandrailError:
            self._lose(len(noted))
            return None
        return {SEALED: cipher.seal(text, _key(turn_id))}

    async def _decoded(self, turn_id: str, fields: Mapping[bytes, bytes]) -> list[Event]:
        """What an entry holds; nothing, which a follower takes for something that is missing, when it can't be read."""
        text = fields.get(PLAIN)
        if (sealed := fields.get(SEALED)) is not None and self.ciphers is not None:
            try:
                named = sealed.decode()
                cipher = self.ciphers.opener_at_hand(named) or await self.ciphers.opener(named)
                text = None if cipher is None else cipher.open(named, _key(turn_id)).encode()
            except HandrailError:
                return []
        return [Event(*each) for each in json.loads(text or b"[]")]


async def _written(client: Client, texts: Sequence[tuple[str, dict[bytes, str]]]) -> None:
    pipeline = client.pipeline(transaction=False)
    for turn_id, fields in texts:
        pipeline.xadd(_key(turn_id), fields, maxlen=MOST_ENTRIES, approximate=True)
        pipeline.expire(_key(turn_id), KEPT_SECONDS)
    await pipeline.execute()


def _key(turn_id: str) -> str:
    return f"handrail:events:{turn_id}"
