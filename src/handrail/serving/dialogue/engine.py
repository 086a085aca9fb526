"""Plays a flow: one message in, what is said and asked out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import JsonValue

from handrail.core.ages import in_words, said_of
from handrail.core.answers import AnswerEvent, Awaiting, Handoff, Outcome, Said
from handrail.core.json import digest, dumps, loads
from handrail.core.messages import Passage, ToolCall, ToolResult
from handrail.serving.dialogue.expressions import Expression, ExpressionFailed
from handrail.serving.dialogue.flow import Flow, Node
from handrail.serving.dialogue.policy import MAX_MISSES, find_value, leaves_flow, skips

# The call, and the names of its arguments that hang on what nobody vouches for.
CallTool = Callable[[ToolCall, Sequence[str]], Awaitable[ToolResult]]
# What a tool said, and the fields it vouches for: the same with other values everywhere else.
WithoutUntrusted = Callable[[Any, Sequence[str]], Any]
Search = Callable[[str, str | None], Sequence[Passage]]
Extract = Callable[[str, Sequence[Passage]], Passage | None]
ParseYesNo = Callable[[str], bool | None]

_ASKS = {"collect": "slot", "confirm": "flow_confirm"}

_NOT_UNDERSTOOD = "Sorry, I didn't get that."
_GIVES_UP = "I'm sorry, I still can't make that out, so a person should take over."
_YES_OR_NO = "Please answer yes or no."
_TAKEN_AS_NO = "I take that as a no, so I have not done it."
_DECLINED = "All right, I won't do that."
_LEFT = "All right, let's leave it there."
_UNCHANGED = "Nothing was changed."
_TOOL_FAILED = "I'm sorry, I can't reach the system I need for this right now."
_TOOL_UNKNOWN = "I'm sorry, I sent the request but don't know yet whether it went through. A person will check it."
_NOTHING_FITS = "I can't find an answer to that in our documents, and I'd rather not guess."
_FAILED = "I'm sorry, something went wrong on my side, and I can't finish this."
_CHANGED = "The details changed after I asked, so your yes no longer counts and I have not gone on."


@dataclass(slots=True)
class _Play:
    """Where a flow stands and what it knows; JSON-safe, so that it can wait for the next message."""

    flow: str
    message: str
    at: str | None
    slots: dict[str, JsonValue]
    saved: dict[str, Any]
    misses: int = 0
    changed: bool = False
    error: Any = None

    @classmethod
    def begin(cls, flow: Flow, message: str) -> "_Play":
        slots = {name: find_value(slot, message) if slot.from_message else None for name, slot in flow.slots.items()}
        return cls(flow.name, message, flow.first, slots, dict.fromkeys(flow.saves))

    def values(self) -> dict[str, Any]:
        return {**self.saved, "slots": self.slots, "message": self.message, "error": self.error}

    def fingerprint(self) -> str:
        """What a confirmation is bound to: the place it stands before, and every value the rest can use."""
        return digest({"flow": self.flow, "at": self.at, "slots": self.slots, "saved": self.saved})


@dataclass(frozen=True, slots=True)
class _Move:
    """What one step leads to: something to say, and the next step or the end of this turn."""

    say: str | None = None
    at: str | None = None
    asks: Literal["slot", "flow_confirm"] | None = None
    outcome: Outcome | None = None
    source: str | None = None


class Dialogue:
    """Plays flows with the means of one turn.

    Args:
        call_tool: makes one governed tool call; whatever it raises (a pause, a deadline) passes through.
        search: passages for a query, from one knowledge file or from all.
        extract: the passage cut to the sentences that answer the query, or None when nothing fits.
        parse_yes_no: True, False, or None when it is neither.
        without_untrusted: a result with other values wherever its tool vouches for none.
    """

    def __init__(
        self,
        call_tool: CallTool,
        search: Search,
        extract: Extract,
        parse_yes_no: ParseYesNo,
        without_untrusted: WithoutUntrusted,
    ) -> None:
        self._call_tool = call_tool
        self._search = search
        self._extract = extract
        self._parse_yes_no = parse_yes_no
        self._without_untrusted = without_untrusted

    async def run(
        self, flow: Flow, message: str, *, turn_id: str, intent: str, awaiting: Awaiting | None = None
    ) -> AsyncIterator[AnswerEvent]:
        """What the flow says to `message`, then one `Outcome`.

        `awaiting` is what this flow left behind when it last asked; without it the flow begins. Running the same
        turn again makes the same tool calls under the same ids.
        """
        play = _Play.begin(flow, message) if awaiting is None else _Play(**awaiting.state)
        sources: list[str] = []
        spoke = False
        move = _Move(at=play.at) if awaiting is None else self._reply(flow, play, message, awaiting)
        while True:
            if move.say:
                yield Said(f"\n\n{move.say}" if spoke else move.say)
                spoke = True
            if move.source:
                sources.append(move.source)
            if move.at is None:
                yield _ended(move, play, intent, sources)
                return
            play.at = move.at
            try:
                move = await self._step(flow, flow.nodes[play.at], play, turn_id)
            except ExpressionFailed as error:
                move = _stopped(flow, play, error)

    def _reply(self, flow: Flow, play: _Play, message: str, awaiting: Awaiting) -> _Move:
        node = flow.nodes.get(play.at or "")
        if node is None or play.flow != flow.name or _ASKS.get(node.step.verb) != awaiting.kind:
            reason = f"flow {flow.name!r} can't go on at step {play.at!r} of flow {play.flow!r}"
            return _hand_off(_FAILED, reason, error_code="flow_state_unknown")
        try:
            if node.step.verb == "confirm":
                return self._decide(node, play, message, awaiting.arguments_hash)
            return self._fill(flow, node, play, message)
        except ExpressionFailed as error:
            return _stopped(flow, play, error)

    def _fill(self, flow: Flow, node: Node, play: _Play, message: str) -> _Move:
        """Take the user's answer to a slot's question."""
        name = node.step.collect or ""
        slot = flow.slots[name]
        value: JsonValue = self._parse_yes_no(message) if slot.type == "boolean" else None
        if value is None and (left := _leaves(message, play)):
            return left
        if value is None and slot.optional and skips(message):
            play.slots[name], play.misses = slot.default, 0
            return _Move(at=node.next)
        if value is None:
            value = find_value(slot, message)
        if value is not None:
            play.slots[name], play.misses = value, 0
            return _Move(at=node.next)
        play.misses += 1
        if play.misses > MAX_MISSES:
            return _hand_off(_GIVES_UP, f"no usable value for {name!r} after {play.misses} answers")
        values = play.values()
        hint = flow.hints.get(name)
        again = hint.text(values) if hint else f"{_NOT_UNDERSTOOD} {flow.questions[name].text(values)}"
        return _Move(say=again, asks="slot")

    def _decide(self, node: Node, play: _Play, message: str, arguments_hash: str | None) -> _Move:
        """Take the user's answer to a confirm step."""
        if arguments_hash != play.fingerprint():
            return _Move(say=_CHANGED, outcome=Outcome("failed", error_code="confirmation_changed"))
        answer = self._parse_yes_no(message)
        if answer is None and (left := _leaves(message, play)):
            return left
        if answer is None and not play.misses:
            play.misses = 1
            return _Move(say=f"{_YES_OR_NO} {_text(node.expression, play)}", asks="flow_confirm")
        unclear = bool(play.misses) and answer is None
        play.misses = 0
        if answer:
            return _Move(at=node.next)
        otherwise = node.branches.get("else")
        return _Move(say=_TAKEN_AS_NO if unclear else None if otherwise else _DECLINED, at=otherwise)

    async def _step(self, flow: Flow, node: Node, play: _Play, turn_id: str) -> _Move:
        step = node.step
        match step.verb:
            case "collect":
                if play.slots[step.collect or ""] is not None:
                    return _Move(at=node.next)
                return _Move(say=flow.questions[step.collect or ""].text(play.values()), asks="slot")
            case "call":
                return await self._call(flow, node, play, turn_id)
            case "say":
                return _Move(say=_text(node.expression, play), at=node.next)
            case "if":
                holds = node.expression is not None and node.expression.evaluate(play.values())
                return _Move(at=node.branches.get("then" if holds else "else", node.next))
            case "confirm":
                return _Move(say=_text(node.expression, play), asks="flow_confirm")
            case "answer":
                return self._answer(node, play)
            case "handoff":
                team = step.handoff.team if step.handoff else None
                return _hand_off(None, _text(node.expression, play), team)
            case _:
                return _Move()

    async def _call(self, flow: Flow, node: Node, play: _Play, turn_id: str) -> _Move:
        values = play.values()
        arguments = {name: value.evaluate(values) for name, value in (node.arguments or {}).items()}
        # The id is the step's and the turn's alone, so that a second run of the turn finds the first one's result.
        call_id = f"call_{digest([turn_id, flow.name, node.path])[:32]}"
        tool = node.step.call or ""
        influenced = self._influenced(flow, node, play, arguments) if node.acts_outside else ()
        result = await self._call_tool(ToolCall(call_id, tool, dumps(arguments)), influenced)
        if result.status == "unknown":
            # The flow's own words for a failure may say that nothing happened, and that may be untrue.
            return _hand_off(_TOOL_UNKNOWN, f"it is not known whether {tool} took effect")
        play.changed = play.changed or (node.writes and not result.is_error)
        content = _decoded(result.content)
        if not result.is_error:
            if node.step.save is not None:
                play.saved[node.step.save] = content
            return _Move(say=_of_its_age(node, play, result.age_seconds), at=node.next)
        if "on_error" in node.branches:
            play.error = _error(content)
            return _Move(at=node.branches["on_error"])
        return _hand_off(_TOOL_FAILED, f"{tool} failed: {_error(content)['message']}")

    def _influenced(self, flow: Flow, node: Node, play: _Play, arguments: dict[str, Any]) -> list[str]:
        """The arguments that would be others if what nobody vouches for were: found by trying."""
        saved = {name: self._without_untrusted(value, flow.trusted.get(name, ())) for name, value in play.saved.items()}
        values = {**play.values(), **saved, "error": self._without_untrusted(play.error, ())}
        if values == play.values():
            return []
        return [name for name, each in (node.arguments or {}).items() if _evaluated(each, values) != (arguments[name],)]

    def _answer(self, node: Node, play: _Play) -> _Move:
        query = _text(node.expression, play)
        file = node.step.answer.knowledge if node.step.answer else True
        passages = self._search(query, f"knowledge/{file}" if isinstance(file, str) else None)
        found = self._extract(query, passages)
        if found is not None:
            return _Move(say=found.quoted(), at=node.next, source=found.source)
        otherwise = node.branches.get("else")
        return _Move(say=None if otherwise else _NOTHING_FITS, at=otherwise)


def _ended(move: _Move, play: _Play, intent: str, sources: list[str]) -> Outcome:
    if move.outcome is not None:
        return replace(move.outcome, sources=tuple(sources))
    if move.asks is None:
        return Outcome("answered", sources=tuple(sources))
    fingerprint = play.fingerprint() if move.asks == "flow_confirm" else None
    return Outcome("asked", Awaiting(move.asks, intent, asdict(play), fingerprint), sources=tuple(sources))


def _leaves(message: str, play: _Play) -> _Move | None:
    match leaves_flow(message):
        case "human":
            return _hand_off(None, "the user asked for a person")
        case "cancel":
            return _Move(say=_LEFT if play.changed else f"{_LEFT} {_UNCHANGED}")
        case None:
            return None


def _hand_off(say: str | None, reason: str, team: str | None = None, error_code: str | None = None) -> _Move:
    return _Move(say=say, outcome=Outcome("handed_off", handoff=Handoff(reason, team), error_code=error_code))


def _stopped(flow: Flow, play: _Play, error: ExpressionFailed) -> _Move:
    reason = f"{flow.file} stopped at step {play.at}: {error.message}"
    return _hand_off(_FAILED, reason, error_code=error.code)


def _text(expression: Expression | None, play: _Play) -> str:
    return expression.text(play.values()) if expression else ""


def _of_its_age(node: Node, play: _Play, age_seconds: float | None) -> str | None:
    """What comes before words that rest on an old value: the step's own sentence, or ours; `None` for a fresh one."""
    if age_seconds is None:
        return None
    if node.stale is None:
        return said_of(age_seconds)
    return node.stale.text({**play.values(), "age": in_words(age_seconds)})


def _evaluated(expression: Expression, values: dict[str, Any]) -> tuple[Any, ...]:
    """The value, or nothing when there is none."""
    try:
        return (expression.evaluate(values),)
    except ExpressionFailed:
        return ()


def _decoded(content: str) -> Any:
    try:
        return loads(content)
    except ValueError:
        return content


def _error(content: Any) -> dict[str, Any]:
    """What `on_error` sees as `error`: always with `code`, `message` and, if a person decided, their `reason`."""
    inner = content.get("error", content) if isinstance(content, dict) else content
    known = {"code": "", "message": "no reason was given", "reason": ""}
    return known | (inner if isinstance(inner, dict) else {"message": str(inner)})
