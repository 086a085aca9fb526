"""Traces to a collector of others: OTLP over HTTP, in the background, with patience and within bounds."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from handrail.core.errors import UsageError
from handrail.egress import Egress
from handrail.insight.traces.recording import FinishedTrace
from handrail.telemetry.logging import logger

if TYPE_CHECKING:
    import aiohttp

    from handrail.insight.traces.otlp import Encoded

MOST_WAITING = 5_000
MOST_A_REQUEST = 200
TIMEOUT_SECONDS = 10.0
MOST_ATTEMPTS = 5
MOST_BACKOFF_SECONDS = 30.0
# Of what a collector answers; it says little.
MOST_ANSWER_BYTES = 65_536
# What may be better in a moment, by the specification of OTLP.
_AGAIN = frozenset({429, 502, 503, 504})

Content = Mapping[int, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Collector:
    """Where traces go.

    Attributes:
        headers: with the collector's key, so they are in no `repr`, log line or error.
        service: what this deployment is called there.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    service: str = "handrail"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


class _Answer(NamedTuple):
    """What a collector said: status 0 when nothing, and for how long it wants to be left alone."""

    status: int = 0
    told: float | None = None
    body: bytes = b""


class OtlpExporter:
    """The line before the collector and who empties it. For one event loop.

    Raises:
        UsageError: the extra that holds the messages is not installed.
    """

    def __init__(
        self,
        collector: Collector,
        egress: Egress,
        *,
        on_dropped: Callable[[str, int], None] = lambda _why, _count: None,
        most_waiting: int = MOST_WAITING,
        backoff_seconds: float = 1.0,
    ) -> None:
        try:
            from handrail.insight.traces.otlp import encode, rejected_of
        except ImportError as error:
            raise UsageError("HANDRAIL_TRACES__OTLP_URL needs the extra: install `handrail[otlp]`") from error
        self._encode = encode
        self._rejected_of = rejected_of
        self._has_said_rejected = False
        self._collector = collector
        self._egress = egress
        self._on_dropped = on_dropped
        self._most_waiting = most_waiting
        self._backoff_seconds = backoff_seconds
        self._waiting: deque[tuple[FinishedTrace, Content | None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def offer(self, finished: FinishedTrace, content: Content | None) -> None:
        """Take a trace in line; never waits, never raises."""
        if len(self._waiting) >= self._most_waiting:
            self._on_dropped("collector_line_full", 1)
        else:
            self._waiting.append((finished, content))

    async def flush(self, *, attempts: int = MOST_ATTEMPTS) -> None:
        """Send what waits; what the collector does not take after some attempts is dropped and counted."""
        if not self._waiting:
            return
        import aiohttp

        from handrail.egress.session import outbound_session

        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        host = frozenset({self._collector.host})
        async with outbound_session(self._egress, declared=host, timeout=timeout) as session:
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_A_REQUEST))]
                reason = await self._send(session, self._encode(some, self._collector.service), attempts)
                if reason is not None:
                    self._on_dropped(reason, len(some))

    async def _send(self, session: "aiohttp.ClientSession", request: "Encoded", attempts: int) -> str | None:
        """Why it is lost; None when it was taken, if not all of it."""
        for attempt in range(1, attempts + 1):
            answer = await self._post(session, request.body)
            if 200 <= answer.status < 300:
                self._count_rejected(answer.body, request.spans)
                return None
            if answer.status and answer.status not in _AGAIN:
                logger().warning("a collector refuses traces", host=self._collector.host, status=answer.status)
                return "collector_refused"
            if attempt < attempts:
                await asyncio.sleep(self._backoff(attempt, answer.told))
        logger().warning("a collector takes no traces", host=self._collector.host, attempts=attempts)
        return "collector_failed"

    def _count_rejected(self, answer: bytes, sent: int) -> None:
        """Spans that a collector leaves out of what it takes are lost: they are not to be sent again."""
        rejected = min(sent, self._rejected_of(answer))
        if not rejected:
            return
        self._on_dropped("collector_rejected_spans", rejected)
        if not self._has_said_rejected:
            self._has_said_rejected = True
            # Its reason may quote what people said.
            logger().warning(
                "a collector leaves out some spans of what it takes, and its own log says why; this is said once, and "
                "counted in traces_dropped_total",
                host=self._collector.host,
                spans=sent,
                rejected=rejected,
            )

    async def _post(self, session: "aiohttp.ClientSession", body: bytes) -> _Answer:
        import aiohttp

        headers = {**self._collector.headers, "content-type": "application/x-protobuf"}
        answer = _Answer()
        try:
            # A redirect would take the key elsewhere.
            async with session.post(self._collector.url, data=body, headers=headers, allow_redirects=False) as response:
                answer = _Answer(response.status, _seconds(response.headers.get("retry-after")))
                return answer._replace(body=await _beginning(response.content))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # What came after a status changes nothing in it.
            if not answer.status:
                logger().info("a collector can't be reached", host=self._collector.host, error=type(error).__name__)
            return answer

    def _backoff(self, attempt: int, told: float | None) -> float:
        longest = min(MOST_BACKOFF_SECONDS, self._backoff_seconds * 2 ** (attempt - 1))
        # Not all processes at once.
        own = random.uniform(longest / 2, longest)
        return min(MOST_BACKOFF_SECONDS, max(own, told or 0.0))


async def _beginning(content: "aiohttp.StreamReader") -> bytes:
    """Of an answer, as much as is read."""
    read = b""
    while len(read) < MOST_ANSWER_BYTES and (piece := await content.read(MOST_ANSWER_BYTES - len(read))):
        read += piece
    return read


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None


def headers_of(text: str) -> dict[str, str]:
    """`name=value` by comma, as `OTEL_EXPORTER_OTLP_HEADERS` has it; `ValueError` never repeats a value."""
    headers: dict[str, str] = {}
    for place, part in enumerate((each for each in text.split(",") if each.strip()), 1):
        name, equals, value = (unquote(each.strip()) for each in part.partition("="))
        if not equals or not name or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise ValueError(f"header {place} is not written as name=value")
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"the value of header {name!r} holds what no header can")
        headers[name] = value
    return headers
