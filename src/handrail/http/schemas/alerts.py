"""What staff see of alerts."""

from typing import Any, Literal

from pydantic import Field

from handrail.http.schemas.shared import At, Page, Resource

Severity = Literal["info", "warning", "critical"]


class Alert(Resource):
    """One thing that is wrong, or was."""

    id: str
    object: Literal["alert"]
    tenant: str | None = Field(description="Null for the whole deployment.")
    rule: str
    severity: Severity
    state: Literal["pending", "firing", "resolved"]
    labels: dict[str, str]
    said: str
    numbers: dict[str, float]
    started_at: At
    fired_at: At | None
    resolved_at: At | None
    flaps: int = Field(ge=0, description="How often it came back shortly after it was resolved.")
    told: list[str] = Field(description="Channels that know of it.")
    told_at: At | None
    escalated_at: At | None
    acknowledged_at: At | None
    acknowledged_by: str | None
    note: str | None
    runbook: str
    traces: str | None


class AlertList(Page[Alert]):
    """Alerts, newest first."""


class AlertNotice(Resource):
    """A message to a channel, and what became of it."""

    id: str
    object: Literal["alert_notice"]
    channel: str
    kind: Literal["firing", "resolved", "escalated", "repeated", "approval", "case", "digest"]
    title: str
    status: Literal["waiting", "sent", "given_up"]
    attempts: int = Field(ge=0)
    created_at: At
    sent_at: At | None
    error: str | None


class AlertWithNotices(Alert):
    """An alert, with who was told."""

    notices: list[AlertNotice]


class RuleState(Resource):
    """What a rule said last, for a tenant."""

    tenant: str | None
    state: Literal["bad", "fine", "quiet"]
    said: str
    changed_at: At


class AlertRule(Resource):
    """A rule as it is set."""

    name: str
    object: Literal["alert_rule"]
    says: str
    enabled: bool
    severity: Severity
    for_seconds: int = Field(ge=0)
    clears_after_seconds: int = Field(ge=0)
    settings: dict[str, Any]
    states: list[RuleState]


class AlertRuleList(Page[AlertRule]):
    """The rules, the channels there are, and what is wrong with the file, if anything is."""

    channels: list[str]
    problem: str | None


class Silence(Resource):
    """A time in which nobody is told of what matches."""

    id: str
    object: Literal["alert_silence"]
    tenant: str | None = Field(description="Null for all tenants.")
    matchers: dict[str, str]
    starts_at: At
    ends_at: At
    reason: str
    created_by: str
    created_at: At
    ended_at: At | None
    ended_by: str | None


class SilenceList(Page[Silence]):
    """Silences that hold or are planned."""


class AlertTest(Resource):
    """What became of a test message."""

    object: Literal["alert_test"]
    channel: str
    sent: bool
    error: str | None
