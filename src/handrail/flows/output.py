"""What goes out: every answer passes the output guardrails of its own release and the stable one, and what they did is
recorded with the turn."""

from handrail.core.answers import Outcome
from handrail.core.clock import as_datetime
from handrail.db import Batch
from handrail.flows.guardrails import entry, protection
from handrail.flows.route import Route
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.wording import ANSWER_REFUSED
from handrail.protection.guardrails import AnswerRefused, Judgement, OutputFilter, Tripped


async def filter_for(services: Services, active: ActiveTurn, route: Route) -> OutputFilter:
    """The filter of this turn's answer. What a flow says was written by the project: no claims are looked for there."""
    protecting = await protection(services, active)
    active.given.append(active.text)
    return OutputFilter(
        services.output_scanner,
        [each.output_guardrail for each in protecting],
        given=active.given,
        is_generated=active.release.target(route.intent).kind == "agent",
        today=as_datetime(services.clock.micros()).date(),
    )


def said(active: ActiveTurn, text: str) -> str:
    """A text of the model's own as it may be stored: filtered like the answer it is a part of."""
    return active.output.clean(text) if active.output is not None and text else text


def refused(active: ActiveTurn, error: AnswerRefused) -> Outcome:
    """Take the whole answer back and say so."""
    active.stream.restart("")
    active.stream.say(ANSWER_REFUSED)
    return Outcome("failed", error_code=error.code)


def tripped(active: ActiveTurn) -> Judgement:
    """What the answer tripped, so far."""
    output = active.output
    if output is None or not output.tripped:
        return Judgement()
    return Judgement(
        tuple(Tripped(f"output.{name}", output.actions[name], reasons=why) for name, why in output.tripped.items())
    )


def record_tripped(services: Services, active: ActiveTurn, batch: Batch, judgement: Judgement) -> None:
    services.audit.record(batch, entry(active.turn, judgement, active.conversation.subject, f"turn:{active.turn.id}"))


def count_output(services: Services, active: ActiveTurn, judgement: Judgement) -> None:
    """Once the turn is stored."""
    agent = active.turn.agent
    for each in judgement.tripped:
        services.metrics.guardrail_tripped(agent, "output", each.guardrail, each.action)
    if active.output is not None and active.output.grounding.claims:
        services.metrics.grounded(agent, active.output.grounding.claims, active.output.grounding.unsupported)
