"""What is counted of conversations, read from the tables of all rooms; by what it has no word that was said.

Of sealed columns only the guardrails' names and the codes of refused calls are looked at.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, literal_column, select

from handrail.core import json
from handrail.db import Database, Prepared, Row, keys_of
from handrail.insight.costs.tables import model_usage as _u
from handrail.insight.feedback.tables import feedback as _f
from handrail.insight.feedback.tables import review_verdict as _v
from handrail.insight.feedback.tables import value_event as _e
from handrail.insight.scorecard import CallRecord, FeedbackRecord, Transcript, TurnRecord, UsageRecord
from handrail.oversight.approvals.tables import approval as _a
from handrail.serving.conversations.tables import conversation as _c
from handrail.serving.conversations.tables import tool_call as _k
from handrail.serving.conversations.tables import turn as _t

# Calls that were not let through. Any other code is the tool's own word, which nothing is counted by.
DENIED = frozenset(
    {"permission_denied", "untraced_arguments", "instructions_leaked", "rejected", "approval_expired", "switched_off"}
)


def _of(statement: Select[*tuple[Any, ...]], conversation_id: Any) -> Prepared:
    return Prepared(statement.where(conversation_id.in_(keys_of("ids"))))


_CONVERSATIONS = _of(
    select(
        _c.c.id, _c.c.tenant_id, _c.c.subject, _c.c.agent, _c.c.release_id, _c.c.channel, _c.c.created_at
    ),
    _c.c.id,
)  # fmt: skip
_TURNS = _of(
    select(
        _t.c.id, _t.c.tenant_id, _t.c.conversation_id, _t.c.seq, _t.c.status, _t.c.release_id, _t.c.intent, _t.c.action,
        _t.c.latency_class, _t.c.awaiting, _t.c.escalation_id, _t.c.ladder, _t.c.tripped, _t.c.error_code,
        _t.c.overhead_micros, _t.c.created_at, _t.c.started_at, _t.c.ended_at,
    ).order_by(_t.c.conversation_id, _t.c.seq),
    _t.c.conversation_id,
)  # fmt: skip
_CALLS = _of(
    select(
        _k.c.id, _k.c.tenant_id, _k.c.conversation_id, _k.c.turn_id, _k.c.effect, _k.c.status, _k.c.ladder, _k.c.tripped
    ).order_by(_k.c.id),
    _k.c.conversation_id,
)
_FAILED = _of(
    select(_k.c.id, _k.c.tenant_id, _k.c.conversation_id, _k.c.result).where(
        _k.c.status == literal_column("'failed'")
    ),
    _k.c.conversation_id,
)  # fmt: skip
# By its turns: usage has no index by conversation.
_USAGE = Prepared(
    select(
        _u.c.turn_id, _u.c.input_tokens, _u.c.output_tokens, _u.c.cached_tokens, _u.c.cost_micros, _u.c.provider,
        _u.c.model, _u.c.finish_reason,
    ).where(_u.c.turn_id.in_(keys_of("turn_ids")))
)  # fmt: skip
# What was replaced holds no more; words are nothing to count.
_FEEDBACK = _of(
    select(_f.c.conversation_id, _f.c.kind, _f.c.score, _f.c.source, _f.c.created_at)
    .where(_f.c.replaced_at.is_(None), _f.c.score.is_not(None))
    .order_by(_f.c.created_at, _f.c.id),
    _f.c.conversation_id,
)
_VERDICTS = _of(
    select(_v.c.conversation_id, _v.c.resolved)
    .where(_v.c.replaced_at.is_(None), _v.c.resolved.is_not(None))
    .order_by(_v.c.created_at, _v.c.id),
    _v.c.conversation_id,
)
_VALUES = _of(
    select(_e.c.conversation_id, _e.c.amount_micros).where(_e.c.amount_micros.is_not(None)).order_by(_e.c.id),
    _e.c.conversation_id,
)
_APPROVALS = _of(select(_a.c.turn_id), _a.c.conversation_id)


async def transcripts(db: Database, conversation_ids: Iterable[str]) -> Mapping[str, Transcript]:
    """What is stored of each of these conversations, by id; one that is gone is left out.

    Several reads: what changes between them is noted as a change, and counted again.
    """
    ids = {"ids": _keys(conversation_ids)}
    conversations = await db.scan(_CONVERSATIONS, ids)
    turns = await db.scan(_TURNS, ids)
    calls = await db.scan(_CALLS, ids)
    codes = await _codes(db, ids) if any(row["status"] == "failed" for row in calls) else {}
    usage = _grouped(await db.scan(_USAGE, {"turn_ids": _keys(row["id"] for row in turns)}), "turn_id")
    approvals = _grouped(await db.scan(_APPROVALS, ids), "turn_id")
    said = [_grouped(await db.scan(each, ids), "conversation_id") for each in (_FEEDBACK, _VERDICTS, _VALUES)]
    calls_of = _grouped(calls, "turn_id")
    turns_of: dict[str, list[TurnRecord]] = defaultdict(list)
    for row in turns:
        of_turn = [_call(each, codes) for each in calls_of[row["id"]]]
        used = [_usage(each) for each in usage[row["id"]]]
        turns_of[row["conversation_id"]].append(_turn(row, of_turn, used, len(approvals[row["id"]])))
    return {
        row["id"]: _transcript(row, turns_of[row["id"]], *(each[row["id"]] for each in said)) for row in conversations
    }


async def _codes(db: Database, ids: Mapping[str, str]) -> Mapping[str, str]:
    """By call, why it was not let through."""
    found = ((row["id"], _code(row["result"])) for row in await db.scan(_FAILED, ids))
    return {call_id: code for call_id, code in found if code in DENIED}


def _code(result: str | None) -> str:
    try:
        return str(json.loads(result or "{}")["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def _transcript(
    row: Row, turns: Sequence[TurnRecord], feedback: Sequence[Row], verdicts: Sequence[Row], values: Sequence[Row]
) -> Transcript:
    return Transcript(
        conversation_id=row["id"],
        tenant_id=row["tenant_id"],
        subject=row["subject"],
        agent=row["agent"],
        release_id=row["release_id"],
        channel=row["channel"],
        created_at=row["created_at"],
        turns=turns,
        feedback=[
            FeedbackRecord(each["kind"], each["score"], each["created_at"], each["source"] == "user")
            for each in feedback
        ],
        verdicts=[bool(each["resolved"]) for each in verdicts],
        values=[each["amount_micros"] for each in values],
    )


def _turn(row: Row, calls: Sequence[CallRecord], usage: Sequence[UsageRecord], approvals: int) -> TurnRecord:
    return TurnRecord(
        id=row["id"],
        status=row["status"],
        release_id=row["release_id"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        intent=row["intent"],
        action=row["action"],
        latency_class=row["latency_class"],
        is_waiting=row["awaiting"] is not None,
        is_escalated=row["escalation_id"] is not None,
        error_code=row["error_code"],
        overhead_micros=row["overhead_micros"],
        tripped=guardrails_of(row["tripped"]),
        fallbacks=_fallbacks(row["ladder"]),
        calls=calls,
        usage=usage,
        approvals=approvals,
    )


def _call(row: Row, codes: Mapping[str, str]) -> CallRecord:
    return CallRecord(
        effect=row["effect"],
        status=row["status"],
        code=codes.get(row["id"]),
        tripped=guardrails_of(row["tripped"]),
        fallbacks=_fallbacks(row["ladder"]),
    )


def _usage(row: Row) -> UsageRecord:
    return UsageRecord(
        row["input_tokens"],
        row["output_tokens"],
        row["cost_micros"],
        row["cached_tokens"],
        row["provider"],
        row["model"],
        row["finish_reason"],
    )


def guardrails_of(records: str | None) -> tuple[str, ...]:
    """The names of those that a turn or a call has tripped."""
    return tuple(sorted({str(each["guardrail"]) for each in json.loads(records)})) if records else ()


def _fallbacks(ladder: str | None) -> tuple[str, ...]:
    """The rungs that answered, where it was not the first."""
    if not ladder:
        return ()
    steps = json.loads(ladder)
    return tuple(step["rung"] for step in steps if "failed" not in step and step["rung"] != "primary")


def _grouped(rows: Sequence[Row], by: str) -> Mapping[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[by]].append(row)
    return groups


def _keys(ids: Iterable[str]) -> str:
    return json.dumps(dict.fromkeys(ids, 1))
