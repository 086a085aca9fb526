"""What the `approvals:` part of a `policies.yaml` file may say."""

import re
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from handrail.core.principal import Role
from handrail.oversight.approvals.records import Risk

MOST_SECONDS = 30 * 24 * 3600
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EXPIRES: dict[Risk, str] = {Risk.CRITICAL: "1h", Risk.HIGH: "4h", Risk.MEDIUM: "24h", Risk.LOW: "72h"}

Duration = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]{0,6}[smhd])+$", max_length=40)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=63)]


def seconds(duration: str) -> int:
    """`1h30m` as 5400."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ApproverNames(_Strict):
    """Who may decide: one of the roles, or a member of one of the teams."""

    roles: list[Role] = Field(default_factory=list[Role], description="One of these roles is enough.")
    teams: list[str] = Field(default_factory=list[str], description="A member of one of these teams may decide too.")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.roles and not self.teams:
            raise ValueError("nobody could decide; name a role or a team")
        if Role.END_USER in self.roles:
            raise ValueError("an end user can't be an approver; name 'approver', 'operator' or a team")
        return self


class ApprovalRule(_Strict):
    """When a tool call waits for people, for whom, and how long."""

    name: Name = Field(description="How the rule is called in approvals, logs and figures.")
    tools: list[str] | None = Field(default=None, min_length=1, description="Only these tools; without it, every tool.")
    when: str = Field(
        default="true",
        min_length=1,
        max_length=2000,
        description="CEL condition over tool, args, principal, conversation and intent. If it fails, it matches.",
    )
    risk: Risk = Field(default=Risk.MEDIUM, description="A critical one needs a reason from whoever approves it.")
    approvers: ApproverNames = ApproverNames(roles=[Role.APPROVER])
    votes: int = Field(default=1, ge=1, le=10, description="How many different people must say yes.")
    requester_may_approve: bool = Field(default=False, description="Whether one may approve what one asked for.")
    expires_after: Duration | None = Field(
        default=None,
        description="Then it is never executed. By risk: critical 1h, high 4h, medium 24h, low 72h.",
    )
    remind_after: Duration | None = Field(default=None, description="When those who may decide are reminded.")
    escalate_after: Duration | None = Field(default=None, description="When another team is asked too.")
    escalate_to: str | None = Field(default=None, min_length=1, description="The team that may decide from then on.")
    reason: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Shown to approvers; a template over what `when` sees, such as `Refund of {{ args.amount }}`.",
    )

    @property
    def expires_after_seconds(self) -> int:
        return seconds(self.expires_after or _EXPIRES[self.risk])

    @property
    def expires_unjudged_seconds(self) -> int:
        """When the call is as risky as can be because the rule can't judge it: never later than the rule says."""
        return min(self.expires_after_seconds, seconds(_EXPIRES[Risk.CRITICAL]))

    @property
    def remind_after_seconds(self) -> int | None:
        return seconds(self.remind_after) if self.remind_after else None

    @property
    def escalate_after_seconds(self) -> int | None:
        return seconds(self.escalate_after) if self.escalate_after else None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.tools is None and "when" not in self.model_fields_set:
            raise ValueError("every call of every tool would wait; say 'tools' or 'when'")
        if (self.escalate_after is None) != (self.escalate_to is None):
            raise ValueError("'escalate_after' and 'escalate_to' go together; give both or neither")
        expiry = self.expires_after_seconds
        if expiry > MOST_SECONDS:
            raise ValueError(f"'expires_after' ({self.expires_after}) is longer than 30 days; shorten it")
        for name, after in (("remind_after", self.remind_after), ("escalate_after", self.escalate_after)):
            if after is not None and seconds(after) >= expiry:
                raise ValueError(f"{name!r} ({after}) is not before the approval expires; shorten it")
        return self
