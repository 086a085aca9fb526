"""Off the hot path: ended turns wait in a short line, and a background task writes them in batches."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from handrail.core.errors import HandrailError
from handrail.db import Conflict, Database
from handrail.insight.traces.policy import Sampling
from handrail.insight.traces.recording import FinishedTrace
from handrail.insight.traces.store import TraceStore

MOST_WAITING = 5_000
MOST_A_BATCH = 100

Content = Mapping[int, Mapping[str, str]]
_Ready = tuple[FinishedTrace, Content | None]


class TraceWriter:
    """The line and who empties it. For one event loop.

    Args:
        redact: takes personal data and secrets out of a text, and bounds it; with None no text is kept, whatever is
            offered.
        on_dropped: told why and how many.
        send_on: is given what is kept, besides.
    """

    def __init__(
        self,
        db: Database,
        sampling: Sampling | None = None,
        *,
        redact: Callable[[str], str] | None = None,
        on_dropped: Callable[[str, int], None] = lambda _why, _count: None,
        send_on: Callable[[FinishedTrace, Content | None], None] | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.store = TraceStore(db)
        self.sampling = sampling or Sampling()
        self._db = db
        self._redact = redact
        self._on_dropped = on_dropped
        self._send_on = send_on
        self._most_waiting = most_waiting
        self._waiting: deque[FinishedTrace] = deque()

    @property
    def has_content(self) -> bool:
        """Whether texts are wanted at all; who asks first spares itself the copies."""
        return self._redact is not None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def offer(self, finished: FinishedTrace) -> None:
        """Take a trace in line if it is one to keep; never waits, never raises."""
        keeps = self.sampling.keeps(
            finished.trace.context.trace_id,
            seconds=finished.seconds,
            latency_class=finished.latency_class,
            is_failed=finished.error_code is not None,
            is_notable=finished.is_notable,
        )
        if not keeps:
            return
        if len(self._waiting) >= self._most_waiting:
            self._on_dropped("line_full", 1)
            return
        self._waiting.append(finished)

    async def flush(self) -> int:
        """Write what waits; returns how many. What the database can't take now waits on.

        Raises:
            StoreUnavailable: the rest is still in line.
        """
        count = 0
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_A_BATCH))]
            try:
                written = await self._write([(each, self._redacted(each)) for each in some])
            except HandrailError:
                self._put_back(some)
                raise
            count += len(written)
            if self._send_on is not None:
                for each, content in written:
                    self._send_on(each, content)
        return count

    async def _write(self, ready: Sequence[_Ready]) -> Sequence[_Ready]:
        try:
            async with self._db.batch() as batch:
                for each, content in ready:
                    self.store.add(batch, each, content)
        except Conflict:
            if len(ready) == 1:
                # Its conversation was erased meanwhile.
                self._on_dropped("conversation_gone", 1)
                return []
            return [done for each in ready for done in await self._write([each])]
        return ready

    def _put_back(self, some: Sequence[FinishedTrace]) -> None:
        room = self._most_waiting - len(self._waiting)
        kept = some[max(0, len(some) - room) :] if room > 0 else ()
        self._waiting.extendleft(reversed(kept))
        if len(kept) < len(some):
            self._on_dropped("store_unavailable", len(some) - len(kept))

    def _redacted(self, finished: FinishedTrace) -> Content | None:
        """What of its texts may be kept."""
        redact, texts = self._redact, finished.trace.texts
        if redact is None or not texts:
            return None
        return {number: {name: redact(text) for name, text in each.items()} for number, each in texts.items()}
