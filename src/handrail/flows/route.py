"""Where a turn goes: on with what the conversation waits for, or by calibrated confidence."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from handrail.core.answers import Awaiting
from handrail.flows.services import ActiveTurn, Services
from handrail.protection.guardrails import Judgement
from handrail.serving.routing import Decision, parse_choice, parse_yes_no
from handrail.serving.routing import decide as decide_by_confidence

Action = Literal["execute", "confirm", "clarify", "handoff", "continue", "declined", "refuse", "escalate"]
LatencyClass = Literal["simple", "medium", "complex"]

AWAITING_MICROS = 30 * 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class Route:
    """The decision and its reason. `message` is what is acted on: after a yes, the message that was asked about."""

    action: Action
    intent: str | None
    confidence: float | None
    reason: str
    message: str
    choices: tuple[str, ...] = ()
    awaiting: Awaiting | None = None
    failures: int = 0
    latency_class: LatencyClass = "simple"

    def public(self) -> dict[str, Any]:
        """As it stands in API bodies and on the turn."""
        return {
            "action": self.action,
            "intent": self.intent,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "reason": self.reason,
            "choices": list(self.choices),
        }


def decide(services: Services, active: ActiveTurn) -> Route:
    """The route of this message. Pure, so that a turn which is taken over or resumed goes the same way again."""
    judgement = Judgement.of(active.turn.tripped)
    if judgement.stops:
        return _stopped(active, judgement)
    awaiting = active.conversation.awaiting
    if awaiting and awaiting.expires_at and awaiting.expires_at < active.turn.created_at:
        awaiting = None
    route = _continued(active, awaiting) if awaiting else None
    route = route or _by_confidence(active, active.conversation.failures)
    return replace(route, latency_class=_latency_class(active, route))


def _stopped(active: ActiveTurn, judgement: Judgement) -> Route:
    """A guardrail's word comes before what the message is about. Which one is not told to whoever wrote it."""
    action = "refuse" if judgement.action == "refuse" else "escalate"
    now, reason = active.conversation, "a guardrail does not let this message through"
    return Route(action, None, None, reason, "", awaiting=now.awaiting, failures=now.failures)


def _continued(active: ActiveTurn, awaiting: Awaiting) -> Route | None:
    """What the user's words mean for what was asked; `None` when they are about something else."""
    text = active.text
    if awaiting.kind in ("slot", "flow_confirm"):
        if _changes_the_subject(active, awaiting):
            return None
        return Route("continue", awaiting.intent, None, f"answers the flow's {awaiting.kind}", text, awaiting=awaiting)
    asked_about = str(awaiting.state.get("message", text))
    if awaiting.kind == "confirm":
        answer = parse_yes_no(text)
        if answer is True:
            return Route("execute", awaiting.intent, 1.0, "the user confirmed", asked_about)
        if answer is False:
            failures = active.conversation.failures + 1
            return Route("declined", awaiting.intent, None, "the user declined", text, failures=failures)
        return None
    choices = [str(choice) for choice in awaiting.state.get("choices", ())]
    index = parse_choice(text, [active.release.title(choice) for choice in choices])
    if index is None:
        return None
    return Route("execute", choices[index], 1.0, "the user chose", asked_about)


def _changes_the_subject(active: ActiveTurn, awaiting: Awaiting) -> bool:
    """A clear request for something else while a flow waits for a value it was not given."""
    if active.release.head is None or active.release.answers_flow(awaiting, active.text):
        return False
    decision = _classify(active, 0)
    return decision.action == "execute" and decision.intent != awaiting.intent


def _by_confidence(active: ActiveTurn, failures: int) -> Route:
    if active.release.head is None:
        return Route("execute", None, None, "this agent has no intents: everything goes to the agent loop", active.text)
    decision = _classify(active, failures)
    return Route(
        decision.action,
        decision.intent,
        decision.confidence,
        decision.reason,
        active.text,
        decision.choices,
        # A person has it after a handoff; the count begins anew.
        failures=failures + 1 if decision.action == "clarify" else 0,
    )


def _classify(active: ActiveTurn, failures: int) -> Decision:
    release = active.release
    assert release.head is not None
    prediction = release.head.predict(active.text)
    return decide_by_confidence(prediction, release.thresholds(prediction.intent), failures)


def _latency_class(active: ActiveTurn, route: Route) -> LatencyClass:
    """No model call = simple, at most one model round = medium, else complex. Sets the SLO label only."""
    target = active.release.target(route.intent)
    if route.action not in ("execute",) or target.kind != "agent":
        return "simple"
    return "complex" if active.release.tools else "medium"
