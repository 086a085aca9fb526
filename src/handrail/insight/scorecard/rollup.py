"""What one conversation adds to the sums, so that it can be taken off again when it is counted anew. Pure.

A contribution is kept with its fact as JSON: `turns` by the minute in which they were sent, `reasons`, the `usage` of
each model, and what the conversation as a whole adds. The sums by hour and day follow from it, so they can't disagree.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from handrail.core.counts import counts_text
from handrail.insight.scorecard.facts import (
    HOUR_MICROS,
    PARKED,
    ConversationFact,
    counted,
    escalation_reason,
    has_failed,
    latency_of,
    tripped_by,
)
from handrail.insight.scorecard.histogram import bucket_of
from handrail.insight.scorecard.transcripts import Transcript, TurnRecord, UsageRecord

Grain = Literal["minute", "hour", "day"]
MICROS: Mapping[Grain, int] = {"minute": 60_000_000, "hour": HOUR_MICROS, "day": 24 * HOUR_MICROS}
# By column; of a histogram, by `LATENCY` and the bucket.
Amounts = dict[str, int]
# By table, then by key in the order of the table's columns.
Additions = dict[str, dict[tuple[str | int, ...], Amounts]]
Contribution = dict[str, Any]

TURNS, CONVERSATIONS, REASONS, USAGE = "turn_rollup", "conversation_rollup", "reason_rollup", "usage_rollup"
LATENCY = "latency."
_COARSE: Sequence[Grain] = ("hour", "day")
# What calls of a model are told under, and those without a known cost; the latter by why, too.
MODEL, ANY_UNPRICED = "model", "unpriced"


def contribution_of(transcript: Transcript, fact: ConversationFact) -> Contribution:
    """What this conversation adds, as it is kept."""
    turns: dict[tuple[int, str, str, str], tuple[Amounts, dict[int, int]]] = {}
    reasons: Counter[tuple[int, str, str, str, str]] = Counter()
    usage: dict[tuple[int, str, str, str, str], Amounts] = {}
    for turn in counted(transcript):
        key = (start_of(turn.created_at, "minute"), turn.release_id, turn.intent or "", turn.latency_class or "")
        amounts, latencies = turns.setdefault(key, ({}, {}))
        _add_to(amounts, _of_turn(turn))
        latency = latency_of(turn)
        if latency is not None:
            bucket = bucket_of(latency)
            latencies[bucket] = latencies.get(bucket, 0) + 1
        hour = start_of(turn.created_at, "hour")
        for kind, reason in _reasons(turn):
            reasons[hour, turn.release_id, turn.intent or "", kind, reason] += 1
        for each in turn.usage:
            for kind, more in _of_call(each):
                key = (hour, turn.release_id, turn.intent or "", kind, f"{each.provider}/{each.model}")
                _add_to(usage.setdefault(key, {}), more)
    return {
        "turns": [
            [*key, amounts, {str(bucket): count for bucket, count in sorted(latencies.items())}]
            for key, (amounts, latencies) in sorted(turns.items())
        ],
        "reasons": [[*key, count] for key, count in sorted(reasons.items())],
        "usage": [[*key, amounts] for key, amounts in sorted(usage.items())],
        **whole(fact),
    }


def whole(fact: ConversationFact) -> Contribution:
    """The part that the conversation as a whole adds."""
    return {"conversation": [start_of(fact.started_at, "hour"), fact.release_id, fact.intent, _told(_of_whole(fact))]}


def account(
    total: Additions, tenant_id: str, agent: str, channel: str, contribution: Contribution, sign: int = 1
) -> None:
    """Add a contribution to all the rows that it belongs to, or take it off with a sign of -1."""
    turns, conversations, reasons = (total.setdefault(name, {}) for name in (TURNS, CONVERSATIONS, REASONS))
    for minute, release_id, intent, latency_class, amounts, latencies in contribution["turns"]:
        told = amounts | {LATENCY + bucket: count for bucket, count in latencies.items()}
        _add(turns, (tenant_id, "minute", minute, agent, release_id, "", "", latency_class), told, sign)
        for grain in _COARSE:
            at = start_of(minute, grain)
            _add(turns, (tenant_id, grain, at, agent, release_id, intent, channel, latency_class), told, sign)
    hour, release_id, intent, amounts = contribution["conversation"]
    for grain in _COARSE:
        at = start_of(hour, grain)
        _add(conversations, (tenant_id, grain, at, agent, release_id, intent, channel), amounts, sign)
        for when, own_release, about, kind, reason, count in contribution["reasons"]:
            key = (tenant_id, grain, start_of(when, grain), agent, own_release, about, channel, kind, reason)
            _add(reasons, key, {"count": count}, sign)
    _account_usage(total.setdefault(USAGE, {}), (tenant_id, agent, channel), contribution.get("usage", ()), sign)


def _account_usage(
    rows: dict[tuple[str | int, ...], Amounts], whose: tuple[str, str, str], usage: Iterable[Sequence[Any]], sign: int
) -> None:
    tenant_id, agent, channel = whose
    for when, release_id, intent, kind, name, amounts in usage:
        if kind == MODEL:
            provider, _, model = name.partition("/")
            for grain in _COARSE:
                at = start_of(when, grain)
                _add(rows, (tenant_id, grain, at, agent, release_id, intent, channel, provider, model), amounts, sign)


def stored(amounts: Amounts, columns: Sequence[str]) -> list[int | str]:
    """What the columns are given of these amounts."""
    values: list[int | str] = [amounts.get(name, 0) for name in columns]
    if "latencies" in columns:
        latencies = {int(name[len(LATENCY) :]): n for name, n in amounts.items() if name.startswith(LATENCY)}
        values[columns.index("latencies")] = counts_text(latencies)
    return values


def start_of(at: int, grain: Grain) -> int:
    """The beginning of the minute, hour or day (UTC) of a time."""
    return at - at % MICROS[grain]


def _add(rows: dict[tuple[str | int, ...], Amounts], key: tuple[str | int, ...], more: Amounts, sign: int) -> None:
    now = rows.get(key)
    if now is None:
        now = rows[key] = {}
    _add_to(now, more, sign)


def _add_to(now: Amounts, more: Amounts, sign: int = 1) -> None:
    for name, amount in more.items():
        if amount:
            now[name] = now.get(name, 0) + sign * amount


def _told(amounts: Amounts) -> dict[str, int]:
    return {name: int(amount) for name, amount in amounts.items() if amount}


def _of_turn(turn: TurnRecord) -> Amounts:
    amounts: Amounts = {
        "turns": 1,
        "completed": int(turn.status == "completed"),
        "failed": int(turn.status == "failed"),
        "cancelled": int(turn.status == "cancelled"),
        "parked": int(turn.status == PARKED),
        "handed_off": int(turn.is_escalated),
        "clarified": int(turn.action in ("clarify", "confirm")),
        "refused": int(turn.action == "refuse"),
        "tripped": int(bool(tripped_by(turn))),
        "overhead_micros": turn.overhead_micros or 0,
        "approvals": turn.approvals,
    }
    # Most turns call no model or no tool, and this is done for every one.
    if turn.usage:
        amounts |= {
            "model_calls": len(turn.usage),
            "input_tokens": sum(each.input_tokens or 0 for each in turn.usage),
            "output_tokens": sum(each.output_tokens or 0 for each in turn.usage),
            "cost_micros": sum(each.cost_micros or 0 for each in turn.usage),
            "unpriced_calls": sum(each.cost_micros is None for each in turn.usage),
        }
    if turn.calls:
        amounts |= {
            "tool_calls": len(turn.calls),
            "tool_failures": sum(has_failed(call) for call in turn.calls),
            "side_effects": sum(call.effect == "write" for call in turn.calls),
        }
    return amounts


def _of_call(call: UsageRecord) -> Iterable[tuple[str, Amounts]]:
    """Under what a model call is told: under its model, and under why its cost is not known."""
    amounts: Amounts = {
        "calls": 1,
        "input_tokens": call.input_tokens or 0,
        "output_tokens": call.output_tokens or 0,
        "cached_tokens": call.cached_tokens or 0,
        "cost_micros": call.cost_micros or 0,
    }
    why = call.unpriced
    if why is None:
        yield MODEL, amounts
    else:
        yield MODEL, amounts | {why: 1}
        yield ANY_UNPRICED, {"calls": 1}
        yield why, {"calls": 1}


def _reasons(turn: TurnRecord) -> Iterable[tuple[str, str]]:
    if turn.status == "failed":
        yield "error", turn.error_code or "unknown"
    if turn.is_escalated:
        yield "escalation", escalation_reason(turn)
    for guardrail in tripped_by(turn):
        yield "guardrail", guardrail
    for rung in turn.fallbacks:
        yield "fallback", f"model.{rung}"
    for call in turn.calls:
        for rung in call.fallbacks:
            yield "fallback", f"tool.{rung}"
        if call.code is not None:
            yield "denied", call.code


def _of_whole(fact: ConversationFact) -> Amounts:
    """Rates count closed conversations only; money, ratings and thumbs count as soon as they are known."""
    closed = int(fact.is_closed)
    resolved = closed * fact.is_resolved
    return Counter(
        conversations=1,
        closed=closed,
        completed=closed * fact.is_completed,
        resolved=resolved,
        escalated=closed * fact.is_escalated,
        recontacted=closed * fact.is_recontacted,
        closed_turns=closed * fact.turns,
        closed_cost_micros=closed * fact.cost_micros,
        resolved_cost_micros=resolved * fact.cost_micros,
        turns=fact.turns,
        cost_micros=fact.cost_micros,
        unpriced_calls=fact.unpriced_calls,
        value_micros=fact.value_micros,
        csat_sum=fact.csat or 0,
        csat_count=fact.csat is not None,
        nps_promoters=fact.nps is not None and fact.nps >= 9,
        nps_detractors=fact.nps is not None and fact.nps <= 6,
        nps_count=fact.nps is not None,
        thumbs_up=fact.thumbs_up,
        thumbs_down=fact.thumbs_down,
    )
