"""People hear of what waits for them: written beside it, in the same batch, for the channels of their team.

Only what it is, how long it has waited and where to look: never what a user wrote or a tool was given.
"""

from handrail.core.clock import iso
from handrail.db import Batch
from handrail.flows.services import Services
from handrail.insight.alerts import Message
from handrail.oversight.approvals import Approval
from handrail.oversight.escalations import Escalation


def approval_waits(services: Services, batch: Batch, approval: Approval, *, escalated: bool) -> None:
    """An approval still waits for its people, or now waits for further ones."""
    call = approval.call
    word = "goes to more people" if escalated else "still waits"
    body = (
        f"tool {call.tool} of agent {call.agent}, risk {approval.risk.value}; waits since {iso(approval.created_at)}, "
        f"expires {iso(approval.expires_at)}\n"
        f"{services.alerts.places.console}/console/approvals/{approval.id}"
    )
    # Each revision of it is decided anew.
    what = f"{approval.id}/{approval.revision}/{'escalated' if escalated else 'reminded'}"
    message = Message("approval", call.tenant_id, what, f"An approval {word}: {call.tool}", body)
    teams = sorted({team for clause in approval.approvers.clauses for team in clause.teams})
    for team in teams or [None]:
        services.alerts.tell_team(batch, team, message)


def case_opened(services: Services, batch: Batch, case: Escalation) -> None:
    """A conversation waits for people."""
    team = case.team or "no team"
    body = (
        f"agent {case.agent}, for {team}; since {iso(case.created_at)}\n"
        f"{services.alerts.places.console}/console/conversations/{case.conversation_id}"
    )
    message = Message("case", case.tenant_id, case.id, f"A conversation waits for a person: {team}", body)
    services.alerts.tell_team(batch, case.team, message)
