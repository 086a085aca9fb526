"""Conversations as a month of a shop leaves them in the tables: seeded, newest first, as many turns as you like.

Rows are written past the server, so a million turns take minutes. Their sums are made on the way by the same pure rules
as in a server, which `tests/bench/test_traffic.py` holds against counting the rows from the tables.
"""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handrail.core import json
from handrail.db.metadata import metadata
from handrail.insight.scorecard import (
    DEFAULT_WINDOW_MICROS,
    Additions,
    CallRecord,
    FeedbackRecord,
    StoredFact,
    Transcript,
    TurnRecord,
    UsageRecord,
    account,
    contribution_of,
    fact_of,
    intent_of,
)
from handrail.insight.scorecard.rollup import stored
from handrail.insight.scorecard.store import KEPT_MINUTES_MICROS

SECOND = 1_000_000
DAY = 24 * 3600 * SECOND
TENANT, AGENT = "default", "shop"
# name, weight, latency class, tool, cost of a model call in micro-units
INTENTS = (
    ("order_status", 34, "simple", "get_order", 0),
    ("refund", 14, "simple", "refund", 0),
    ("opening_hours", 9, "simple", None, 0),
    ("change_address", 8, "simple", "change_address", 0),
    ("product_question", 16, "medium", None, 900),
    ("complaint", 6, "complex", "get_order", 2400),
    ("returns", 8, "complex", "get_order", 2100),
    ("chat", 5, "medium", None, 700),
)
SAYS = {
    "order_status": "where is my order {order}?",
    "refund": "I want my money back for {order}",
    "opening_hours": "when are you open on sundays?",
    "change_address": "please send {order} to another address",
    "product_question": "does the blue kettle switch itself off?",
    "complaint": "the parcel {order} came broken and nobody answers",
    "returns": "how do I send {order} back?",
    "chat": "hello there",
}
_MEDIANS = {"simple": 0.35, "medium": 1.8, "complex": 5.5}
# How busy each hour of the day (UTC) is.
_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 12, 15, 16, 15, 14, 14, 15, 15, 14, 13, 12, 11, 9, 7, 5, 3)
Row = tuple[Any, ...]


@dataclass
class Traffic:
    """A month of conversations until `until`.

    Attributes:
        turns: at least so many.
        noted: whether every conversation is left to be counted, instead of being counted on the way.
        added: the sums, once all was made.
    """

    until: int
    turns: int
    seed: int = 1
    days: int = 30
    users: int = 20_000
    noted: bool = False
    added: Additions = field(default_factory=dict[str, Any])
    made: int = 0

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(table, row in the order of its columns), one conversation after another, the newest first."""
        rng = random.Random(self.seed)
        lines: dict[tuple[str, str], int] = {}
        count = max(1, round(self.turns / 3.33))
        for number, at in enumerate(sorted((self._moment(rng) for _ in range(count)), reverse=True)):
            yield from self._conversation(rng, count - number, at, lines)

    def rollups(self) -> Iterator[tuple[str, Row]]:
        """The sums of all that was made."""
        for name, rows in self.added.items():
            key = {column.name for column in metadata.tables[name].primary_key}
            names = [column.name for column in metadata.tables[name].c if column.name not in key]
            for given, amounts in rows.items():
                if given[1] != "minute" or int(given[2]) >= self.until - KEPT_MINUTES_MICROS:
                    yield name, (*given, *stored(amounts, names))

    def _moment(self, rng: random.Random) -> int:
        day, hour = rng.randrange(self.days), rng.choices(range(24), _HOURS)[0]
        midnight = self.until - self.until % DAY
        at = midnight - day * DAY + hour * 3600 * SECOND + rng.randrange(3600 * SECOND)
        return at if at < self.until else at - self.days * DAY

    def _conversation(
        self, rng: random.Random, number: int, at: int, lines: dict[tuple[str, str], int]
    ) -> Iterator[tuple[str, Row]]:
        conversation_id = f"conv_{at // 1000:012x}7{number:09x}{0:010x}"
        # Some users come all the time, most once.
        subject = f"user-{int(self.users * rng.random() ** 3):06d}"
        release = f"rel_{min(3, int((at - self.until + self.days * DAY) * 4 / (self.days * DAY))):016d}"
        channel = rng.choices(("api", "chat", "openai"), (5, 4, 1))[0]
        story = _Story(rng, conversation_id, release, channel, at)
        turns = [story.turn(seq) for seq in range(1, 1 + min(12, 1 + int(rng.expovariate(1 / 2.4) + 0.35)))]
        self.made += len(turns)
        last_at = turns[-1].ended_at or at
        yield "conversation", _row(
            "conversation", id=conversation_id, tenant_id=TENANT, subject=subject, agent=AGENT, release_id=release,
            channel=channel, title=story.texts[0], turn_count=len(turns), failures=0, created_at=at,
            updated_at=last_at,
        )  # fmt: skip
        yield from story.rows
        told = Transcript(conversation_id, TENANT, subject, AGENT, release, channel, at, turns, story.said)
        if self.noted:
            yield "fact_change", (f"chg_{conversation_id[5:]}", TENANT, conversation_id, last_at)
        else:
            yield from self._counted(told, lines)

    def _counted(self, told: Transcript, lines: dict[tuple[str, str], int]) -> Iterator[tuple[str, Row]]:
        line = (told.subject, intent_of(told))
        next_at, lines[line] = lines.get(line), told.created_at
        fact = fact_of(told, window_micros=DEFAULT_WINDOW_MICROS, next_at=next_at, now=self.until)
        assert fact is not None
        counted = StoredFact(fact, contribution_of(told, fact), 1)
        account(self.added, TENANT, AGENT, told.channel, counted.contribution)
        yield "conversation_fact", tuple(counted.row(self.until))


class _Story:
    """One conversation while it is made: a few turns, mostly about one thing."""

    def __init__(self, rng: random.Random, conversation_id: str, release: str, channel: str, at: int) -> None:
        self._rng = rng
        self._conversation_id = conversation_id
        self._release = release
        self._channel = channel
        self._at = at
        self._intent = rng.choices(INTENTS, [each[1] for each in INTENTS])[0]
        self._own = {"tenant_id": TENANT, "conversation_id": conversation_id}
        self.rows: list[tuple[str, Row]] = []
        self.texts: list[str] = []
        self.said: list[FeedbackRecord] = []

    def turn(self, seq: int) -> TurnRecord:
        rng = self._rng
        if rng.random() < 0.12:
            self._intent = rng.choices(INTENTS, [each[1] for each in INTENTS])[0]
        intent, _, latency_class, tool, price = self._intent
        turn_id, at = f"turn_{self._conversation_id[5:27]}{seq:010x}", self._at
        ended = at + int(_MEDIANS[latency_class] * rng.lognormvariate(0, 0.6) * SECOND)
        luck = rng.random()
        calls = [self._call(turn_id, tool, at, ended)] if tool else []
        usage = [self._usage(turn_id, intent, price, at, ended)] if price else []
        known: dict[str, Any] = {
            "id": turn_id, "release_id": self._release, "created_at": at, "started_at": at, "ended_at": ended,
            "intent": intent, "action": "execute", "latency_class": latency_class, "status": "completed",
            "overhead_micros": 1500 + rng.randrange(2000),
        }  # fmt: skip
        extra = self._fate(luck)
        record = TurnRecord(**{**known, **extra}, calls=calls, usage=usage)
        self._store(record, seq)
        self._trace(record)
        self._thumb(record)
        self._at = ended + int(rng.lognormvariate(3, 0.8) * SECOND)
        return record

    def _fate(self, luck: float) -> Mapping[str, Any]:
        if luck < 0.015:
            return {"status": "failed", "error_code": self._rng.choice(("deadline_exceeded", "model_unavailable"))}
        if luck < 0.05:
            return {"action": "clarify", "intent": None, "latency_class": "simple", "is_waiting": True}
        if luck < 0.09:
            return {"action": "handoff", "is_escalated": True}
        if luck < 0.1:
            return {"action": "refuse", "intent": None, "latency_class": "simple", "tripped": ("injection",)}
        return {"is_waiting": luck < 0.2}

    def _store(self, turn: TurnRecord, seq: int) -> None:
        text = SAYS[self._intent[0]].format(order=f"A{self._rng.randrange(1000, 9999)}")
        self.texts.append(text)
        self._add(
            "turn", id=turn.id, **self._own, seq=seq, status=turn.status, agent=AGENT, release_id=turn.release_id,
            intent=turn.intent, confidence=0.97, action=turn.action, latency_class=turn.latency_class, epoch=1,
            event_seq=9, awaiting="slot" if turn.is_waiting else None, error_code=turn.error_code,
            escalation_id=f"esc_{turn.id[5:]}" if turn.is_escalated else None,
            tripped=json.dumps([{"guardrail": name} for name in turn.tripped]) if turn.tripped else None,
            overhead_micros=turn.overhead_micros, created_at=turn.created_at, started_at=turn.started_at,
            ended_at=turn.ended_at,
        )  # fmt: skip
        answer = f"Thank you. About that: {text} This is what we know, and what we do next for you."
        said = (("user", text, "user", turn.created_at), ("assistant", answer, "agent", turn.ended_at))
        for position, (role, content, provenance, at) in enumerate(said):
            self._add(
                "message", id=f"msg_{turn.id[5:]}{position}", **self._own, turn_id=turn.id, turn_seq=seq,
                position=position, role=role, provenance=provenance, content=content, created_at=at,
            )  # fmt: skip

    def _trace(self, turn: TurnRecord) -> None:
        """What a short turn leaves: its own span and two to four others."""
        assert turn.ended_at is not None
        length = turn.ended_at - turn.created_at
        spans: list[Any] = [
            [0, 0, "invoke_agent", AGENT, 0, length, turn.error_code, {"action": turn.action, "cost_micros": None}],
            [1, 0, "guardrail", "input", 1075, 100, None, None],
            [2, 0, "route", turn.action, 3976, 713, None, {"intent": turn.intent, "confidence": 0.992355510673687}],
            *(
                [3, 0, "execute_tool", "tool", 5000, length - 5000, None, {"status": each.status}]
                for each in turn.calls
            ),
            *([4, 0, "chat", "m", 5000, length - 5000, None, {"tokens": each.input_tokens}] for each in turn.usage),
        ]
        costs = [each.cost_micros for each in turn.usage]
        self._add(
            "trace", id=f"trace_{turn.id[5:]}", **self._own, trace_id=f"{self._rng.getrandbits(128):032x}",
            turn_id=turn.id, epoch=1, agent=AGENT, release_id=turn.release_id, intent=turn.intent,
            channel=self._channel, latency_class=turn.latency_class,
            instructions_hash=hashlib.sha256(turn.release_id.encode()).hexdigest()[:16], status=turn.status,
            error_code=turn.error_code, started_at=turn.created_at, duration_micros=length,
            overhead_micros=turn.overhead_micros, cost_micros=None if None in costs else sum(map(int, costs)),
            spans=json.dumps(spans),
        )  # fmt: skip

    def _thumb(self, turn: TurnRecord) -> None:
        """One in thirty says something, mostly something kind."""
        if self._rng.random() >= 1 / 30:
            return
        score, at = 1 if self._rng.random() < 0.8 else -1, (turn.ended_at or turn.created_at) + 3 * SECOND
        self.said.append(FeedbackRecord("thumb", score, at))
        self._add(
            "feedback", id=f"fb_{turn.id[5:]}", **self._own, turn_id=turn.id, about=turn.id, agent=AGENT,
            release_id=turn.release_id, intent=turn.intent, kind="thumb", score=score, source="user", given_by="user",
            created_at=at,
        )  # fmt: skip

    def _call(self, turn_id: str, tool: str, at: int, ended: int) -> CallRecord:
        effect = "read" if tool.startswith("get") else "write"
        status = "failed" if self._rng.random() < 0.02 else "completed"
        self._add(
            "tool_call", id=f"call_{turn_id[5:]}", **self._own, turn_id=turn_id, name=tool, effect=effect,
            arguments='{"order":"A1001"}', arguments_hash="0", status=status, result='{"ok":true}', created_at=at,
            ended_at=ended,
        )  # fmt: skip
        return CallRecord(effect, status)

    def _usage(self, turn_id: str, intent: str, price: int, at: int, ended: int) -> UsageRecord:
        used = 300 + self._rng.randrange(900), 40 + self._rng.randrange(200)
        # The dear intents are the large model's.
        model = "large" if price > 1000 else "small"
        cost = None if self._rng.random() < 0.01 else price + self._rng.randrange(price)
        self._add(
            "model_usage", id=f"use_{turn_id[5:]}", **self._own, turn_id=turn_id, agent=AGENT,
            release_id=self._release, intent=intent, provider="p", model=model, input_tokens=used[0],
            output_tokens=used[1], milliseconds=(ended - at) // 1000, finish_reason="stop", cost_micros=cost,
            created_at=ended,
        )  # fmt: skip
        return UsageRecord(*used, cost, None, "p", model)

    def _add(self, table: str, **values: Any) -> None:
        self.rows.append((table, _row(table, **values)))


def _row(table: str, **values: Any) -> Row:
    columns = _columns(table)
    return tuple(map(values.get, columns))


def _columns(table: str) -> Sequence[str]:
    return metadata.tables[table].c.keys()


def by_table(rows: Iterator[tuple[str, Row]], size: int) -> Iterator[tuple[str, Sequence[Row]]]:
    """Rows in portions of one table; a portion comes before any row that refers to it."""
    waiting: dict[str, list[Row]] = defaultdict(list)
    for table, row in rows:
        waiting[table].append(row)
        if len(waiting[table]) >= size:
            yield from _ordered(waiting)
            waiting.clear()
    yield from _ordered(waiting)


def _ordered(waiting: Mapping[str, list[Row]]) -> Iterator[tuple[str, Sequence[Row]]]:
    places = {table.name: place for place, table in enumerate(metadata.sorted_tables)}
    yield from sorted(waiting.items(), key=lambda each: places[each[0]])
