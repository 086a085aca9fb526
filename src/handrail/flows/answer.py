"""The answer of a turn, by its route: a question, a dialogue flow, a tool, or the agent loop."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from handrail.core import events, json
from handrail.core.ages import said_of
from handrail.core.answers import AnswerEvent, Awaiting, Handoff, ModelCalled, Outcome, Said, TakenBack
from handrail.core.errors import TurnPaused
from handrail.core.messages import Message, ToolCall, ToolResult
from handrail.flows.model_call import GovernedModel
from handrail.flows.output import filter_for, refused
from handrail.flows.personal import VeiledModel
from handrail.flows.route import AWAITING_MICROS, Route
from handrail.flows.services import ActiveTurn, ReadContext, Services
from handrail.flows.tool_call import call_tool, call_tools
from handrail.flows.wording import DECLINED, LOST, NO_LOOKUP, PASSED_ON, REFUSED, clarify_question, confirm_question
from handrail.oversight.escalations import customer_word
from handrail.protection.boundary import without_untrusted
from handrail.protection.guardrails import AnswerRefused, Judgement
from handrail.serving.agents import LoopRequest
from handrail.serving.agents import answer as answer_by_loop
from handrail.serving.context import extract, fit
from handrail.serving.conversations import StoredToolCall, as_messages
from handrail.serving.dialogue import Dialogue
from handrail.serving.routing import parse_yes_no


async def answer(services: Services, active: ActiveTurn, route: Route) -> Outcome:
    """Stream the answer; returns what it came to when its last word is out."""
    active.stream.publish(events.MESSAGE_STARTED, {"id": active.message_id})
    try:
        outcome = await _filtered(services, active, route)
    except AnswerRefused as error:
        outcome = refused(active, error)
    if outcome.result == "failed" and active.is_unanswered:
        outcome = await _for_people(services, active, outcome, f"no model answered ({outcome.error_code})")
    if outcome.handoff is None:
        outcome = replace(outcome, handoff=active.unsettled())
    if outcome.handoff is not None:
        word = customer_word(outcome.handoff, message=active.release.config.handoff.message)
        active.stream.say(f"\n\n{word}" if active.stream.text else word)
    return outcome


async def _filtered(services: Services, active: ActiveTurn, route: Route) -> Outcome:
    """Say what passes the output guardrails; what a pause cuts off is said before it."""
    outcome = Outcome("failed", error_code="no_answer")
    stream, output, before = active.stream, await filter_for(services, active, route), active.stream.text
    active.output = output
    async with aclosing(_speak(services, active, route)) as spoken:
        try:
            async for event in spoken:
                if isinstance(event, Said):
                    stream.say(output.feed(event.text))
                elif isinstance(event, TakenBack):
                    stream.restart(before + output.take_back(event.characters))
                elif isinstance(event, ModelCalled):
                    active.calls.append(event)
                    services.charge_tokens(active.principal, event.usage)
                    services.metrics.model_call(active.turn.agent, event)
                else:
                    outcome = event
        except TurnPaused:
            stream.say(output.close())
            raise
    stream.say(output.close())
    return outcome


async def _for_people(services: Services, active: ActiveTurn, outcome: Outcome, reason: str) -> Outcome:
    """No model or no tool answered: by the project's word people do, unless they have this conversation already."""
    handoff, turn = active.release.config.handoff, active.turn
    if outcome.handoff is not None or not handoff.when_unanswered:
        return outcome
    if await services.escalations.is_open(turn.tenant_id, turn.conversation_id):
        return outcome
    return replace(outcome, handoff=Handoff(reason, handoff.team))


def _speak(services: Services, active: ActiveTurn, route: Route) -> AsyncGenerator[AnswerEvent]:
    if route.action == "confirm":
        question = confirm_question(active.release.title(route.intent or ""), active.release.own_question(route.intent))
        return _ask(services, route, question, "confirm")
    if route.action == "clarify":
        titles = [active.release.title(choice) for choice in route.choices]
        return _ask(services, route, clarify_question(titles), "clarify")
    if route.action == "declined":
        return _say(DECLINED, Outcome("answered"))
    if route.action == "handoff":
        return _say(LOST, Outcome("handed_off", handoff=Handoff(route.reason, active.release.config.handoff.team)))
    if route.action in ("refuse", "escalate"):
        return _stopped(active, route)
    target = active.release.target(route.intent)
    if target.kind == "flow":
        return _flow(services, active, route, target.name)
    if target.kind == "tool":
        return _tool(services, active, route, target.name)
    return _agent(services, active, route)


async def _say(text: str, outcome: Outcome) -> AsyncGenerator[AnswerEvent]:
    yield Said(text)
    yield outcome


def _stopped(active: ActiveTurn, route: Route) -> AsyncGenerator[AnswerEvent]:
    """A guardrail's word; what the conversation waited for it still waits for."""
    judgement = Judgement.of(active.turn.tripped)
    if route.action == "refuse":
        return _say(judgement.answer or REFUSED, Outcome("answered", route.awaiting))
    handoff = Handoff(f"a guardrail passed this on: {judgement.names}", active.release.config.handoff.team)
    return _say(judgement.answer or PASSED_ON, Outcome("handed_off", route.awaiting, handoff))


def _ask(services: Services, route: Route, question: str, kind: str) -> AsyncGenerator[AnswerEvent]:
    """A question that completes the turn; the conversation waits for its answer."""
    awaiting = Awaiting(
        "confirm" if kind == "confirm" else "clarify",
        route.intent or "",
        {"message": route.message, "choices": list(route.choices)},
        json.digest({"intent": route.intent, "message": route.message}),
        services.clock.micros() + AWAITING_MICROS,
    )
    return _say(question, Outcome("asked", awaiting))


async def _flow(services: Services, active: ActiveTurn, route: Route, name: str) -> AsyncGenerator[AnswerEvent]:
    dialogue = Dialogue(
        partial(call_tool, services, active),
        active.release.knowledge.search,
        extract,
        parse_yes_no,
        without_untrusted,
    )
    flow = active.release.flows[name]
    played = dialogue.run(
        flow, route.message, turn_id=active.turn.id, intent=route.intent or name, awaiting=route.awaiting
    )
    async for event in played:
        if isinstance(event, Outcome) and event.awaiting is not None:
            expires_at = services.clock.micros() + AWAITING_MICROS
            yield replace(event, awaiting=replace(event.awaiting, expires_at=expires_at))
        else:
            yield event


async def _tool(services: Services, active: ActiveTurn, route: Route, name: str) -> AsyncGenerator[AnswerEvent]:
    """An intent that is one tool without arguments: its result is the answer."""
    # The same id whoever runs this turn, so that an heir finds the call in the transcript.
    call_id = f"call_{json.digest([active.turn.id, name])[:32]}"
    result = await call_tool(services, active, ToolCall(call_id, name, "{}"))
    if result.is_error:
        yield Said(NO_LOOKUP)
        yield Outcome("failed", handoff=Handoff(f"tool {name!r} failed", active.release.config.handoff.team))
        return
    value = json.loads(result.content)
    text = value if isinstance(value, str) else _as_lines(value)
    yield Said(text if result.age_seconds is None else f"{said_of(result.age_seconds)}\n\n{text}")
    yield Outcome("answered")


def _as_lines(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{str(key).replace('_', ' ')}: {each}" for key, each in value.items())
    if isinstance(value, list):
        return "\n".join(f"- {each}" for each in value)
    return str(value)


def _answered(result: ToolResult) -> str:
    return result.provider_id or result.tool_call_id


async def _agent(services: Services, active: ActiveTurn, route: Route) -> AsyncGenerator[AnswerEvent]:
    release, limits = active.release, active.release.config.limits
    stored = await services.conversations.history(active.turn, limit=limits.history_messages)
    calls: Sequence[StoredToolCall] = ()
    if any(message.tool_calls for message in stored):
        calls = await services.conversations.conversation_calls(active.turn.tenant_id, active.turn.conversation_id)
    messages = [*as_messages(stored, calls), Message("user", route.message)]
    shown = fit(messages, limits.history_messages, limits.history_characters)
    active.context = ReadContext(shown, calls, release.knowledge.search(route.message))
    for asked in active.rounds:
        # Rounds of an earlier owner of this turn: what is open in them is finished first, then the loop goes on.
        results = await call_tools(services, active, Message("assistant", asked.content), asked.tool_calls)
        messages.append(Message("assistant", asked.content, "agent", asked.tool_calls))
        messages += [Message("tool", each.told, "tool", tool_call_id=_answered(each)) for each in results]
    instructions, documents = release.instructions_for(route.intent, services.clock), active.context.documents
    instructions = f"{instructions}\n\n{release.canary.instruction}"
    active.given += [instructions, *(each.content for each in messages), *(each.text for each in documents)]
    request = LoopRequest(
        instructions=instructions,
        messages=fit(messages, limits.history_messages, limits.history_characters) if active.rounds else shown,
        tools=release.tool_list,
        documents=documents,
    )
    loop = answer_by_loop(
        request,
        client=VeiledModel(services, active, GovernedModel(services, active)),
        call_tools=partial(call_tools, services, active),
        deadline=active.deadline,
        limits=release.loop_limits,
    )
    async with aclosing(loop):
        async for event in loop:
            if isinstance(event, Outcome) and event.result == "answered" and active.unanswered_tools:
                # The last rung of a tool's ladder, for people to hear of. Flows say for themselves what comes then.
                reason = f"{', '.join(active.unanswered_tools)} gave no answer, and nothing could stand in"
                event = await _for_people(services, active, event, reason)
            yield event
