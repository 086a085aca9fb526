"""Conversations for staff: the list by what became of them, and one of them with everything that is known about it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.asked import require_asked, said, status_of
from handrail.console.charts import Step, milliseconds, waterfall
from handrail.console.door import Door
from handrail.console.files import as_csv, as_file
from handrail.console.pages.feedback import line_of
from handrail.console.rendering import Renderer
from handrail.console.transcript import TurnLine, transcript
from handrail.console.words import counted, dollars
from handrail.core.clock import iso
from handrail.core.errors import NotFound, UsageError
from handrail.core.json import dumps
from handrail.core.money import USD
from handrail.core.times import micros_of, require_order
from handrail.flows.audit import insight_exported, read_by_staff
from handrail.flows.feedback import redacted
from handrail.flows.known import unknown_name
from handrail.flows.pseudonyms import named
from handrail.flows.ranges import RANGE_NAMES, begun
from handrail.flows.services import Services
from handrail.flows.shown import calls_shown
from handrail.flows.veil import Veil, veil_of
from handrail.insight.scorecard import ANY_UNPRICED, MODEL, UNPRICED, ConversationFact
from handrail.insight.traces import StoredTrace, TraceStore
from handrail.insight.traces import waterfall as rows_of
from handrail.protection.auth import Scope
from handrail.reports.conversations import ConversationFilters, Totals, conversations, kind_of, totals
from handrail.reports.filters import NARROWS
from handrail.serving.conversations import Conversation, StoredMessage, StoredToolCall, Turn, TurnStatus

DEFAULT_RANGE = "28d"
MOST_EXPORTED = 5000
MOST_TURNS = 200
MOST_NAME = 200
# What happens under the name of a model.
CALLS = (MODEL, ANY_UNPRICED, *UNPRICED)
OUTCOMES: Mapping[str, Mapping[str, Any]] = {
    "open": {"status": "open"},
    "pending": {"status": "pending"},
    "resolved": {"resolved": True},
    "closed": {"status": "closed"},
    "unresolved": {"resolved": False},
    "escalated": {"escalated": True},
    "failed": {"failed": True},
    "tripped": {"tripped": True},
    "tool_failed": {"tool_failed": True},
    "thumbs_down": {"thumbs_down": True},
    "thumbed": {"thumbed": True},
    "rated": {"rated": True},
    "recommended": {"recommended": True},
    "valued": {"valued": True},
}
OUTCOME_NAMES = {
    "open": "Going on",
    "pending": "Window still open",
    "closed": "Window over",
    "resolved": "Resolved by the agent",
    "unresolved": "Not resolved",
    "escalated": "Escalated",
    "failed": "With a failed turn",
    "tripped": "Tripped a guardrail",
    "tool_failed": "With a tool that failed",
    "thumbs_down": "Thumbs down",
    "thumbed": "With a thumb",
    "rated": "With a rating",
    "recommended": "With an NPS answer",
    "valued": "With a value event",
}


@dataclass(frozen=True, slots=True)
class ConversationsPage:
    """The list and the detail; every filter is a parameter of the address."""

    renderer: Renderer

    async def show(self, request: Request, visitor: Visitor) -> Response:
        given = dict(request.query_params)
        error: UsageError | None = None
        unknown: NotFound | None = None
        if given.get("q", "").strip():
            return RedirectResponse(f"/console/conversations/search?{request.url.query}", 303)
        services, tenant_id = services_of(request), visitor.principal.tenant_id
        try:
            require_asked(given, FILTERS)
            filters = await named(services, filters_of(tenant_id, services.clock.micros(), given))
            page = await conversations(services.db, filters, cursor=given.get("cursor"))
            unknown = None if page.conversations else await _unknown(services, tenant_id, given)
        except UsageError as wrong:
            error, given = wrong, {}
            filters = filters_of(tenant_id, services.clock.micros(), given)
            page = await conversations(services.db, filters)
        chosen = chosen_of(given)
        return self.renderer.page(
            "conversations.html",
            current="conversations",
            visitor=visitor,
            status=status_of(error or unknown),
            error=said(error, instead="This is the list without it.") or said(unknown),
            lines=[listed(each) for each in page.conversations],
            found=_found(await totals(services.db, filters), services.feedback_rules.currency),
            behind=behind_of(given),
            chosen=chosen,
            ranges=RANGE_NAMES,
            outcomes=OUTCOME_NAMES,
            query=urlencode(chosen),
            onward=urlencode(chosen | {"cursor": page.next_cursor}) if page.next_cursor else None,
        )

    async def csv(self, request: Request, visitor: Visitor) -> Response:
        """The list for a spreadsheet: no word of what was said."""
        names = {
            "cost_micros": f"cost_micros_{USD}".lower(),
            "value_micros": f"value_micros_{_value_in(request)}".lower(),
        }
        found = [_row(each) for each in await self._exported(request, visitor)]
        rows = [{names.get(name, name): value for name, value in each.items()} for each in found]
        return as_csv(rows, "conversations.csv", empty="conversation_id")

    async def json(self, request: Request, visitor: Visitor) -> Response:
        rows = [_row(each) for each in await self._exported(request, visitor)]
        body = {"currency": USD, "value_currency": _value_in(request), "data": rows}
        return as_file(dumps(body), "application/json", "conversations.json")

    async def detail(self, request: Request, visitor: Visitor) -> Response:
        services, principal = services_of(request), visitor.principal
        try:
            found = await services.conversations.require(principal, request.path_params["conversation_id"])
        except NotFound as missing:
            return self.renderer.page(
                "message.html",
                current="conversations",
                visitor=visitor,
                status=404,
                title="There is no such conversation",
                reason=f"{missing.message}.",
            )
        read_by_staff(services, principal, found)
        return self.renderer.page(
            "conversation.html", current="conversations", visitor=visitor, **await _detail(services, visitor, found)
        )

    async def _exported(self, request: Request, visitor: Visitor) -> Sequence[ConversationFact]:
        services, given = services_of(request), request.query_params
        require_asked(given, FILTERS)
        filters = await named(services, filters_of(visitor.principal.tenant_id, services.clock.micros(), given))
        page = await conversations(services.db, filters, limit=MOST_EXPORTED)
        services.audit.note(insight_exported(visitor.principal, "conversations"))
        return page.conversations


def _value_in(request: Request) -> str:
    return services_of(request).feedback_rules.currency


async def _unknown(services: Services, tenant_id: str, given: Mapping[str, str]) -> NotFound | None:
    """What the address names and nothing has."""
    narrowed = {name: given.get(name) or None for name in NARROWS}
    return await unknown_name(services.db, services.releases, tenant_id, narrowed)


def filters_of(tenant_id: str, now: int, given: Mapping[str, str]) -> ConversationFilters:
    """What the parameters of an address ask for.

    Raises:
        UsageError: a range or an outcome that is not known.
    """
    begins = begun(given.get("range") or DEFAULT_RANGE, now)
    outcome = given.get("outcome") or ""
    if outcome and outcome not in OUTCOMES:
        raise UsageError(f"outcome {outcome!r} is not known; use one of {', '.join(OUTCOMES)}", param="outcome")
    narrowed = {name: given.get(name) or None for name in (*NARROWS, "subject")}
    seconds, least = (_number(given, name) for name in ("min_seconds", "min_cost"))
    since, until = (_moment(given, name) for name in ("since", "until"))
    since = begins if since is None else since
    if until is not None:
        require_order(since, until)
    happened = given.get("happened", "")[:MOST_NAME] or None
    if happened is not None:
        # What happened has the intent of its turn; the conversation as a whole may have been about something else.
        kind_of(happened)
        narrowed |= {"happened_in": narrowed["intent"], "intent": None}
    chosen = dict(OUTCOMES.get(outcome, {}))
    if given.get("closed"):
        chosen["status"] = "closed"
    return ConversationFilters(
        tenant_id,
        since,
        until,
        **narrowed,
        **chosen,
        happened=happened,
        min_latency_micros=None if seconds is None else int(seconds * 1e6),
        min_cost_micros=None if least is None else int(least * 1e6),
    )


def _number(given: Mapping[str, str], name: str) -> float | None:
    text = given.get(name, "").strip()
    try:
        value = float(text) if text else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value < 1e9:
        raise UsageError(f"{name} {text!r} is not a number of at least 0", param=name)
    return value


def _moment(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "").strip()
    return micros_of(name, text) if text else None


_HIDDEN = ("since", "until", "closed", "happened")
_KEPT = ("range", *NARROWS, "subject", "outcome", "min_seconds", "min_cost", *_HIDDEN)
FILTERS = (*_KEPT, "q", "cursor")


def behind_of(given: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """What a link asked for besides the fields of the form, each with the address of the list without it."""
    chosen = chosen_of(given)
    happened, _, reason = chosen.get("happened", "").partition(":")
    what = reason if happened in CALLS else reason.replace("_", " ")
    any_of = {"model": "any call of a model", "unpriced": "any call without a known cost"}
    says = {
        "since": f"from {chosen.get('since', '')[:16].replace('T', ' ')} UTC",
        "until": f"until {chosen.get('until', '')[:16].replace('T', ' ')} UTC",
        "closed": "only those whose window is over",
        "happened": f"{happened.replace('_', ' ')}: {what}"
        if reason
        else any_of.get(happened, f"any {happened.replace('_', ' ')}"),
    }
    return [
        {"name": name, "value": chosen[name], "says": says[name], "without": urlencode(_without(chosen, name))}
        for name in _HIDDEN
        if name in chosen
    ]


def _without(chosen: Mapping[str, str], name: str) -> Mapping[str, str]:
    return {each: value for each, value in chosen.items() if each != name}


def _found(total: Totals, currency: str) -> str:
    """What all of the list comes to, in words."""
    if not total.conversations:
        return ""
    parts = [f"{counted(total.conversations, 'conversation')} with {counted(total.turns, 'turn')}"]
    for count, one in (
        (total.failed_turns, "failed turn"),
        (total.tool_calls, "tool call"),
        (total.thumbs, "thumb"),
    ):
        parts += [counted(count, one)] if count else []
    parts += [f"{dollars(total.value_micros, currency)} of value"] if total.value_micros else []
    parts += [f"{dollars(total.cost_micros)} of cost"] if total.cost_micros else []
    parts += [f"{counted(total.unpriced_calls, 'call')} without a known cost"] if total.unpriced_calls else []
    if total.happened is not None:
        parts.append(f"it happened {counted(total.happened, 'time')}")
    return ("More than this; the newest: " if total.is_cut else "") + ", ".join(parts)


def chosen_of(given: Mapping[str, str]) -> dict[str, str]:
    """The filters that an address or a form gives, as they are carried on."""
    return {"range": given.get("range") or DEFAULT_RANGE} | {name: given[name] for name in _KEPT if given.get(name)}


def _outcome(each: ConversationFact) -> str:
    if each.status == "open":
        return "going on"
    if each.is_escalated:
        return "escalated"
    if each.status == "pending":
        return "pending"
    return "resolved" if each.is_resolved else "not resolved"


def listed(each: ConversationFact) -> Mapping[str, Any]:
    """A line of the list."""
    marks = [
        (each.failed_turns, "failed"), (each.tripped, "guardrail"), (each.approvals, "approval"),
        (each.side_effects, "side effect"), (each.thumbs_down, "thumbs down"), (each.thumbs_up, "thumbs up"),
    ]  # fmt: skip
    return {
        "id": each.conversation_id,
        "started": iso(each.started_at)[:16].replace("T", " "),
        "subject": each.subject or "erased",
        "agent": each.agent,
        "intent": each.intent or "none",
        "turns": each.turns,
        "outcome": _outcome(each),
        "is_bad": bool(each.failed_turns) or each.is_escalated,
        "slowest": "" if each.latency_micros is None else milliseconds(each.latency_micros / 1000),
        "cost": _cost(each.cost_micros, each.model_calls, each.unpriced_calls),
        "marks": [name if count == 1 else f"{name} x{count}" for count, name in marks if count],
    }


def _cost(micros: int, calls: int, unpriced: int) -> str:
    if not calls:
        return "no model"
    if unpriced >= calls:
        return "not known"
    return f"{'at least ' if unpriced else ''}{micros / 1e6:.4f} USD"


def _row(each: ConversationFact) -> dict[str, Any]:
    names = (
        "conversation_id", "agent", "release_id", "channel", "intent", "turns", "failed_turns", "tool_calls",
        "tool_failures", "tripped", "refused", "side_effects", "approvals", "csat", "nps", "thumbs_up", "thumbs_down",
        "input_tokens", "output_tokens", "cost_micros", "unpriced_calls", "value_micros", "latency_micros",
    )  # fmt: skip
    # Nothing of a cost is known where its only calls have no price: that is no zero.
    cost = None if each.unpriced_calls and not each.cost_micros else each.cost_micros
    found = {name: getattr(each, name) for name in names} | {"cost_micros": cost}
    return {"started_at": iso(each.started_at), "outcome": _outcome(each)} | found


async def _detail(services: Services, visitor: Visitor, found: Conversation) -> dict[str, Any]:
    reader = visitor.principal
    veil = veil_of(services, reader, found.tenant_id, found.id, found.subject)
    messages = await services.conversations.messages(found, limit=4 * MOST_TURNS)
    calls = await calls_shown(services, found)
    turns = await services.conversations.turns(found.tenant_id, found.id, limit=MOST_TURNS)
    traces = await TraceStore(services.db).of_conversation(found.tenant_id, found.id)
    # So many texts take a while, and turns go on meanwhile.
    said = await asyncio.to_thread(_said, veil, messages, calls)
    opinions = await _opinions(services, veil, found) if visitor.reads_feedback else []
    asked = {each.id: await _asked(services, each, traces) for each in turns}
    return {
        "conversation": found,
        "started": iso(found.created_at)[:16].replace("T", " "),
        "turns": [
            {
                **_turn(each, said.get(each.id), [one for one in traces if one.turn_id == each.id]),
                "opinions": [one for one in opinions if one["turn_id"] == each.id],
                "approvals": asked[each.id],
            }
            for each in turns
        ],
        "opinions": [each for each in opinions if each["turn_id"] is None],
        "left_out": max(0, found.turn_count - len(turns)),
        "is_veiled": veil.hides,
    }


async def _opinions(services: Services, veil: Veil, found: Conversation) -> list[Mapping[str, Any]]:
    """What is said of it now, without names and numbers of people."""
    given = await services.feedback.of_conversation(found.tenant_id, found.id)
    lines = [line_of(redacted(each)) for each in given if each.replaced_at is None]
    return [{**each, "comment": veil.over(each["comment"])} for each in lines]


async def _asked(services: Services, turn: Turn, traces: Sequence[StoredTrace]) -> list[Mapping[str, str]]:
    """The approvals of a turn that waits, or went on after it had waited."""
    parts = sum(each.turn_id == turn.id for each in traces)
    if parts < 2 and turn.status is not TurnStatus.REQUIRES_ACTION:
        return []
    found = await services.approvals.of_turn(turn.tenant_id, turn.id)
    return [{"id": each.id, "says": f"{each.call.tool.replace('_', ' ')}: {each.status}"} for each in found]


def _said(veil: Veil, messages: Sequence[StoredMessage], calls: Sequence[StoredToolCall]) -> Mapping[str, TurnLine]:
    texts = [replace(each, content=veil.over(each.content)) for each in messages]
    given = [replace(each, arguments=veil.over(each.arguments)) for each in calls]
    return {each.id: each for each in transcript(texts, given)}


def _turn(turn: Turn, said: Any, traces: Sequence[StoredTrace]) -> Mapping[str, Any]:
    return {
        "id": turn.id,
        "view": said,
        "status": turn.status.value.replace("_", " "),
        "facts": _facts(turn, _took(turn, traces), traces),
        "tripped": [_tripped(each) for each in turn.tripped],
        "ladder": [_rung(each) for each in turn.ladder],
        "waterfalls": [_waterfall(each) for each in sorted(traces, key=lambda one: one.started_at)],
    }


def _took(turn: Turn, traces: Sequence[StoredTrace]) -> float | None:
    """In milliseconds. A turn that ran in one go took what its trace says, of which Handrail's share is a part; the row
    is written after the first checks and before the last word is stored."""
    if len(traces) == 1:
        return traces[0].duration_micros / 1000
    return None if turn.ended_at is None or turn.started_at is None else (turn.ended_at - turn.started_at) / 1000


def _facts(turn: Turn, took: float | None, traces: Sequence[StoredTrace]) -> Mapping[str, str]:
    costs = [each.cost_micros for each in traces]
    known = [each for each in costs if each is not None]
    facts = {
        "Intent": turn.intent and f"{turn.intent} ({turn.confidence:.2f})"
        if turn.confidence is not None
        else turn.intent,
        "Route": turn.action,
        "Release": turn.release_id,
        "Took": None if took is None else milliseconds(took),
        "Handrail's share": None if turn.overhead_micros is None else milliseconds(turn.overhead_micros / 1000),
        "Tokens": None
        if turn.usage.input_tokens is None
        else f"{turn.usage.input_tokens} in, {turn.usage.output_tokens or 0} out",
        "Cost": f"{sum(known) / 1e6:.4f} USD" if sum(known) else None,
        "Error": turn.error_code,
        "Case": turn.escalation_id,
        "Trace": traces[0].trace_id if traces else None,
    }
    return {name: value for name, value in facts.items() if value}


_RUNGS = {"primary": "asked", "retry": "asked again", "secondary": "asked instead", "cached": "last good value of"}


def _rung(each: Mapping[str, Any]) -> str:
    """One step of what was tried, in words."""
    if each["rung"] == "honest":
        return "nothing answered, and the user was told so"
    failed = str(each.get("failed") or "").replace("_", " ")
    return f"{_RUNGS.get(each['rung'], each['rung'])} {each['source']}: {failed or 'it answered'}"


def _tripped(each: Mapping[str, Any]) -> str:
    name = " ".join(str(each[name]) for name in ("guardrail", "channel") if each.get(name))
    reasons = ", ".join(str(reason) for reason in each.get("reasons") or ())
    return f"{name}: {each.get('action', '')}" + (f" ({reasons})" if reasons else "")


def _waterfall(trace: StoredTrace) -> Any:
    kinds = {"chat": "model", "execute_tool": "tool"}
    steps = [
        Step(
            bar.title,
            bar.left * trace.duration_micros / 1000,
            (bar.span.duration_micros or 0) / 1000,
            bar.depth,
            bar.span.error or "",
            kinds.get(bar.kind, ""),
            has_failed=bar.span.error is not None,
        )
        for bar in rows_of(trace)
    ]
    return waterfall(f"What happened when in turn {trace.turn_id}", steps, trace.duration_micros / 1000)


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    page, door = ConversationsPage(renderer), Door(renderer)
    for path, show, scope in (
        ("", page.show, Scope.INSIGHT_READ),
        (".csv", page.csv, Scope.INSIGHT_READ),
        (".json", page.json, Scope.INSIGHT_READ),
        ("/{conversation_id}", page.detail, Scope.CONVERSATIONS_READ),
    ):
        shown = door.shows("conversations", show, scope, *STAFF)
        app.add_route(f"/console/conversations{path}", shown, include_in_schema=False)
