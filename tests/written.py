"""Conversations written straight into the tables, as turns would have left them; quicker than taking turns."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import bindparam, insert, update

from handrail.core import json
from handrail.core.clock import Clock
from handrail.db import Batch, Database, Prepared
from handrail.insight.costs.tables import model_usage
from handrail.insight.feedback.tables import feedback, review_verdict, value_event
from handrail.insight.scorecard import FactStore
from handrail.oversight.approvals.tables import approval
from handrail.serving.conversations.tables import conversation, tool_call, turn

_ADD_CONVERSATION, _ADD_TURN, _ADD_CALL = (Prepared(insert(each)) for each in (conversation, turn, tool_call))
_ADD_USAGE, _ADD_APPROVAL = Prepared(insert(model_usage)), Prepared(insert(approval))
_SAY, _JUDGE, _VALUE = (Prepared(insert(each)) for each in (feedback, review_verdict, value_event))
_REPLACED = Prepared(
    update(feedback)
    .where(
        feedback.c.conversation_id == bindparam("conversation_id_"),
        feedback.c.kind == bindparam("kind_"),
        feedback.c.replaced_at.is_(None),
    )
    .values(replaced_at=bindparam("at"))
)
_END = Prepared(
    update(turn)
    .where(turn.c.id == bindparam("id_"))
    .values(status=bindparam("status_"), awaiting=bindparam("awaiting_"), ended_at=bindparam("at"))
)
_PRICE = Prepared(
    update(model_usage)
    .where(model_usage.c.conversation_id == bindparam("conversation_id_"), model_usage.c.cost_micros.is_(None))
    .values(cost_micros=bindparam("cost"))
)


@dataclass(frozen=True)
class Told:
    """One turn as it is to be written; `calls` are (effect, status, code), `costs` one model call each."""

    status: str = "completed"
    intent: str | None = "order_status"
    action: str | None = "execute"
    latency_class: str | None = "simple"
    awaiting: str | None = None
    escalated: bool = False
    error_code: str | None = None
    tripped: tuple[str, ...] = ()
    rungs: tuple[str, ...] = ()
    seconds: float = 1.0
    costs: tuple[int | None, ...] = (100,)
    model: str = "m"
    finish_reason: str = "stop"
    calls: tuple[tuple[str, str, str | None], ...] = ()
    approvals: int = 0


@dataclass
class Written:
    """Writes rows into a database; every change is noted, as flows do."""

    db: Database
    clock: Clock
    agent: str = "shop"
    release_id: str = "rel_test"
    tenant_id: str = "default"
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def conversation(self, subject: str = "ana", *turns: Told, channel: str = "api", **more: Any) -> str:
        """A new conversation with these turns; its id."""
        at = self.clock.micros()
        row = {
            "id": f"conv_{next(self._numbers):04d}", "tenant_id": self.tenant_id, "subject": subject,
            "agent": self.agent, "release_id": self.release_id, "channel": channel, "title": None, "turn_count": 0,
            "failures": 0, "awaiting": None, "created_at": at, "updated_at": at,
        } | more  # fmt: skip
        async with self.db.batch() as batch:
            batch.add(_ADD_CONVERSATION, row)
        for each in turns:
            await self.turn(row["id"], each)
        return row["id"]

    async def turn(self, conversation_id: str, told: Told = Told()) -> str:
        """One more turn, which ends now; its id."""
        number, at = next(self._numbers), self.clock.micros()
        turn_id, began = f"turn_{number:04d}", at - int(told.seconds * 1_000_000)
        is_open = told.status in ("queued", "running")
        row = dict.fromkeys(turn.c.keys()) | {
            "id": turn_id, "tenant_id": self.tenant_id, "conversation_id": conversation_id, "seq": number,
            "status": told.status, "agent": self.agent, "release_id": self.release_id, "intent": told.intent,
            "action": told.action, "latency_class": told.latency_class, "epoch": 1, "event_seq": 1,
            "awaiting": told.awaiting, "escalation_id": f"esc_{number}" if told.escalated else None,
            "ladder": json.dumps([{"rung": rung, "source": "m"} for rung in told.rungs]) if told.rungs else None,
            "tripped": json.dumps([{"guardrail": name} for name in told.tripped]) if told.tripped else None,
            "error_code": told.error_code, "overhead_micros": 900, "created_at": began, "started_at": began,
            "ended_at": None if is_open else at,
        }  # fmt: skip
        async with self.db.batch() as batch:
            batch.add(_ADD_TURN, row)
            self._calls(batch, conversation_id, turn_id, told)
            if not is_open:
                self.changed(batch, conversation_id)
        return turn_id

    async def end(self, conversation_id: str, turn_id: str, status: str = "completed") -> None:
        """A turn that ran or waited is over now."""
        async with self.db.batch() as batch:
            batch.add(_END, {"id_": turn_id, "status_": status, "awaiting_": None, "at": self.clock.micros()})
            self.changed(batch, conversation_id)

    async def priced(self, conversation_id: str, cost: int) -> None:
        """Model calls that had no price have one now."""
        async with self.db.batch() as batch:
            batch.add(_PRICE, {"conversation_id_": conversation_id, "cost": cost})
            self.changed(batch, conversation_id)

    async def says(self, conversation_id: str, kind: str, score: int) -> None:
        """Its user says so now, and no longer what they said before."""
        at = self.clock.micros()
        async with self.db.batch() as batch:
            batch.add(_REPLACED, {"conversation_id_": conversation_id, "kind_": kind, "at": at})
            batch.add(_SAY, dict.fromkeys(feedback.c.keys()) | self._own(conversation_id) | {
                "id": f"fb_{next(self._numbers):06d}", "about": conversation_id, "kind": kind, "score": score,
                "source": "user", "given_by": "ana", "created_at": at,
            })  # fmt: skip
            self.changed(batch, conversation_id)

    async def is_worth(self, conversation_id: str, amount_micros: int) -> None:
        """A value came of it."""
        number = f"val_{next(self._numbers):06d}"
        async with self.db.batch() as batch:
            batch.add(_VALUE, dict.fromkeys(value_event.c.keys()) | self._own(conversation_id) | {
                "id": number, "name": "order", "amount_micros": amount_micros, "currency": "USD", "key": number,
                "recorded_by": "shop", "created_at": self.clock.micros(),
            })  # fmt: skip
            self.changed(batch, conversation_id)

    async def is_judged(self, conversation_id: str, turn_id: str, resolved: bool) -> None:
        """A reviewer's verdict."""
        async with self.db.batch() as batch:
            batch.add(_JUDGE, dict.fromkeys(review_verdict.c.keys()) | self._own(conversation_id) | {
                "id": f"ver_{next(self._numbers):06d}", "turn_id": turn_id, "resolved": int(resolved),
                "sample": "routine", "inclusion_probability": 1.0, "reviewer": f"r{next(self._numbers)}",
                "created_at": self.clock.micros(),
            })  # fmt: skip
            self.changed(batch, conversation_id)

    def _own(self, conversation_id: str) -> dict[str, Any]:
        return {
            "tenant_id": self.tenant_id, "conversation_id": conversation_id, "agent": self.agent,
            "release_id": self.release_id,
        }  # fmt: skip

    def changed(self, batch: Batch, conversation_id: str) -> None:
        FactStore(self.db).changed(batch, self.tenant_id, conversation_id, at=self.clock.micros())

    def _calls(self, batch: Batch, conversation_id: str, turn_id: str, told: Told) -> None:
        own = {"tenant_id": self.tenant_id, "conversation_id": conversation_id, "turn_id": turn_id}
        at = self.clock.micros()
        for cost in told.costs:
            batch.add(_ADD_USAGE, own | {
                "id": f"use_{next(self._numbers)}", "agent": self.agent, "release_id": self.release_id,
                "intent": told.intent, "provider": "p", "model": told.model, "input_tokens": 10, "output_tokens": 5,
                "cached_tokens": None, "milliseconds": 5, "finish_reason": told.finish_reason, "cost_micros": cost,
                "created_at": at,
            })  # fmt: skip
        for effect, status, code in told.calls:
            result = json.dumps({"error": {"code": code}}) if code else "{}"
            batch.add(_ADD_CALL, dict.fromkeys(tool_call.c.keys()) | own | {
                "id": f"call_{next(self._numbers)}", "name": "get_order", "effect": effect, "arguments": "{}",
                "arguments_hash": "", "status": status, "result": result, "created_at": at, "ended_at": at,
            })  # fmt: skip
        for _ in range(told.approvals):
            number = next(self._numbers)
            batch.add(_ADD_APPROVAL, dict.fromkeys(approval.c.keys()) | own | {
                "id": f"appr_{number}", "tool_call_id": f"call_{number}", "agent": self.agent,
                "release_id": self.release_id, "requester": "ana", "tool": "refund", "arguments": "{}",
                "fingerprint": "", "revision": 1, "version": 1, "rules": "[]", "risk": "low", "votes_needed": 1,
                "approvers": "[]", "reason": "", "status": "pending", "expires_at": at, "created_at": at,
            })  # fmt: skip


ANSWERED = Told()
ASKED = Told(awaiting="slot")
CLARIFIED = Told(action="clarify", intent=None, awaiting="clarify", costs=())
FAILED = Told("failed", error_code="model_unavailable", rungs=("honest",), costs=(None,))
HANDED_OFF = Told(action="handoff", intent=None, escalated=True)
STOPPED = Told("cancelled", error_code="cancelled")
PARKED = Told("requires_action", intent="refund", approvals=1)
REFUND = replace(ANSWERED, intent="refund", calls=(("write", "completed", None), ("read", "failed", None)), seconds=3)
DENIED = replace(ANSWERED, calls=(("write", "failed", "permission_denied"),), tripped=("injection",))
