"""What a turn notes while it runs: numbers and names in plain tuples, made into something to read only afterwards."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from types import MappingProxyType
from typing import Any, Literal

from handrail.telemetry.trace import TraceContext

Kind = Literal[
    "invoke_agent", "chat", "execute_tool", "guardrail", "route", "approval", "cache", "fallback", "retry", "takeover"
]
ROOT = 0
# Span ids of one turn: its root's and what follows at this distance, so that none is stored and none is drawn twice.
# An odd root and an even step never come to zero, which is no id.
_STEP = 0x9E3779B97F4A7C16
_IDS = (1 << 64) - 1
NOTHING: Mapping[str, Any] = MappingProxyType({})

# number, parent, kind, name, began, ended, error, attributes. Times are of `perf_counter`; an event has no end.
Noted = tuple[int, int, Kind, str, float, float | None, str | None, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another trace that this one goes on from."""

    trace_id: str
    span_id: str


def root_span_id(turn_id: str, epoch: int) -> int:
    """The span of a turn as one owner ran it; the same in every process, so that the next owner can name it."""
    return int.from_bytes(hashlib.blake2b(f"{turn_id}:{epoch}".encode(), digest_size=8).digest()) | 1


def span_id(root: int, number: int) -> str:
    """The id of the `number`th span after the root."""
    return f"{(root + number * _STEP) & _IDS:016x}"


class TurnTrace:
    """The spans of one turn while it runs.

    Attributes:
        link: the trace in which the turn began, when it goes on in this one.
        open: the numbers of tool calls that run, by the call's id.
        texts: what was said, by the number of a span; noted only where the deployment wants it.
    """

    __slots__ = ("_last", "context", "link", "noted", "open", "root", "texts")

    def __init__(self, context: TraceContext, root: int, link: SpanLink | None = None) -> None:
        self.context = context
        self.root = root
        self.link = link
        self.noted: list[Noted] = []
        self.open: dict[str, int] = {}
        self.texts: dict[int, dict[str, str]] = {}
        self._last = ROOT

    def begin(self) -> int:
        """The number of a span that begins now."""
        self._last += 1
        return self._last

    def end(
        self,
        number: int,
        kind: Kind,
        name: str,
        began: float,
        error: str | None = None,
        attributes: Mapping[str, Any] = NOTHING,
        ended: float | None = None,
    ) -> None:
        """Note a span that ends now, or ended then."""
        self.noted.append(
            (number, ROOT, kind, name, began, perf_counter() if ended is None else ended, error, attributes)
        )

    def event(
        self,
        kind: Kind,
        name: str,
        error: str | None = None,
        attributes: Mapping[str, Any] = NOTHING,
        parent: int = ROOT,
    ) -> None:
        """Note something that has no length."""
        self.noted.append((self.begin(), parent, kind, name, perf_counter(), None, error, attributes))

    def traceparent(self, number: int) -> str:
        """The header of a call that a span makes."""
        return self.context.traceparent(span_id(self.root, number))


@dataclass(frozen=True, slots=True)
class Span:
    """One span, as it is stored and read. Times in microseconds, from the beginning of the turn."""

    number: int
    parent: int
    kind: Kind
    name: str
    started_micros: int
    duration_micros: int | None
    error: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def stored(self) -> list[Any]:
        return [
            self.number, self.parent, self.kind, self.name, self.started_micros, self.duration_micros, self.error,
            dict(self.attributes) or None,
        ]  # fmt: skip

    @classmethod
    def of(cls, stored: list[Any]) -> "Span":
        number, parent, kind, name, started, length, error, attributes = stored
        return cls(number, parent, kind, name, started, length, error, attributes or {})


@dataclass(frozen=True, slots=True)
class FinishedTrace:
    """A turn that has ended, parked, or been lost to another process: all that is known of it, still in tuples.

    Attributes:
        began: what `perf_counter` said when it began; `started_at` is the same moment on the wall.
        is_notable: kept whatever the sampling: a guardrail tripped, people were needed, or it changed its owner.
    """

    trace: TurnTrace
    tenant_id: str
    conversation_id: str
    turn_id: str
    epoch: int
    agent: str
    release_id: str
    intent: str | None
    channel: str
    latency_class: str | None
    instructions_hash: str
    status: str
    error_code: str | None
    began: float
    started_at: int
    seconds: float
    overhead_micros: int
    cost_micros: int | None = None
    variant: str | None = None
    is_notable: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def spans(self) -> list[Span]:
        """The root first, then the others in the order in which they began."""
        whole = int(self.seconds * 1_000_000)
        root = Span(ROOT, ROOT, "invoke_agent", self.agent, 0, whole, self.error_code, self.attributes)
        return [root, *(self._span(each) for each in sorted(self.trace.noted, key=_began))]

    def _span(self, noted: Noted) -> Span:
        number, parent, kind, name, began, ended, error, attributes = noted
        length = None if ended is None else max(0, int((ended - began) * 1_000_000))
        # What was measured before the turn's own clock was set begins with it.
        return Span(
            number, parent, kind, name, max(0, int((began - self.began) * 1_000_000)), length, error, attributes
        )


def _began(noted: Noted) -> tuple[float, int]:
    return noted[4], noted[0]
