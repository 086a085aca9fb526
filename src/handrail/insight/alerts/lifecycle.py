"""An alert's life: inactive, pending, firing, resolved. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from handrail.core import json
from handrail.core.clock import iso
from handrail.core.ids import new_id
from handrail.db import Row
from handrail.insight.alerts.schema import Rule, Rules
from handrail.insight.alerts.signals import Finding

SECOND = 1_000_000
# What fires again within this time is the same alert, and flaps.
FLAP_SECONDS = 1800
MOST_FLAPS = 2


class AlertState(StrEnum):
    """Inactive ones are not stored."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong, or was.

    Attributes:
        fingerprint: of tenant, rule and labels; one alert at a time has it.
        ok_since: since when it is fine again, while it still fires.
        flaps: how often it came back shortly after it was resolved.
        told: the channels that were told that it fires, and not yet that it is over.
        notices: how many times somebody was told; part of what makes a notice itself.
        version: counts changes, so that two never overwrite each other.
    """

    id: str
    tenant_id: str
    fingerprint: str
    rule: str
    severity: str
    labels: Mapping[str, str]
    state: AlertState
    said: str
    numbers: Mapping[str, float]
    started_at: int
    fired_at: int | None = None
    ok_since: int | None = None
    resolved_at: int | None = None
    flaps: int = 0
    told: Sequence[str] = ()
    told_at: int | None = None
    escalated_at: int | None = None
    notices: int = 0
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    note: str | None = None
    version: int = 0

    @classmethod
    def of(cls, row: Row) -> "Alert":
        given: dict[str, Any] = {name: row[name] for name in cls.__dataclass_fields__}
        given |= {name: json.loads(row[name]) for name in ("labels", "numbers", "told")}
        given |= {"state": AlertState(row["state"]), "told": tuple(given["told"])}
        return cls(**given)

    @property
    def is_open(self) -> bool:
        return self.state is not AlertState.RESOLVED

    @property
    def is_flapping(self) -> bool:
        return self.flaps > MOST_FLAPS

    def body(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "object": "alert",
            "tenant": None if self.tenant_id == "*" else self.tenant_id,
            "rule": self.rule,
            "severity": self.severity,
            "state": self.state.value,
            "labels": dict(self.labels),
            "said": self.said,
            "numbers": {name: round(value, 6) for name, value in self.numbers.items()},
            "started_at": iso(self.started_at),
            "fired_at": _iso(self.fired_at),
            "resolved_at": _iso(self.resolved_at),
            "flaps": self.flaps,
            "told": list(self.told),
            "told_at": _iso(self.told_at),
            "escalated_at": _iso(self.escalated_at),
            "acknowledged_at": _iso(self.acknowledged_at),
            "acknowledged_by": self.acknowledged_by,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One alert before and after a look; `after` is None when it was pending and is nothing any more."""

    before: Alert | None
    after: Alert | None


@dataclass(frozen=True, slots=True)
class Times:
    """How long the rule of an alert wants it to hold, and to be fine."""

    for_seconds: int
    clear_seconds: int
    severity: str = "warning"
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, rule: Rule) -> "Times":
        return cls(rule.for_seconds, rule.clear_seconds, rule.severity, rule.labels)


def fingerprint_of(finding: Finding) -> str:
    """What makes two findings one alert: whose they are, what rule, what thing; not the numbers."""
    parts = [finding.tenant_id, finding.rule, sorted(finding.labels.items())]
    return hashlib.sha256(json.canonical(parts)).hexdigest()[:32]


def look(
    known: Iterable[Alert], findings: Iterable[Finding], rules: Rules, at: int, *, missing: frozenset[str] = frozenset()
) -> list[Change]:
    """Every alert after this look: those that it says something of, and those of which nothing is said any more.

    Args:
        missing: rules whose source could not be read; nothing is said of their alerts, which stay as they are.
    """
    newest: dict[str, Alert] = {}
    for alert in sorted(known, key=lambda each: each.id):
        newest[alert.fingerprint] = alert
    changes: list[Change] = []
    for finding in findings:
        rule = rules.named(finding.rule)
        if rule is None:
            continue
        before = newest.pop(fingerprint_of(finding), None)
        after = advance(before, finding, Times.of(rule), at)
        if before is not None or after is not None:
            changes.append(Change(before, after))
    for before in newest.values():
        rule = rules.named(before.rule)
        if before.is_open and not (before.rule in missing and rule is not None and rule.enabled):
            times = Times.of(rule) if rule is not None and rule.enabled else Times(0, 0)
            changes.append(Change(before, advance(before, None, times, at)))
        else:
            changes.append(Change(before, before))
    return changes


def advance(before: Alert | None, finding: Finding | None, times: Times, at: int) -> Alert | None:
    """One alert, one look later. None is inactive."""
    is_bad = finding is not None and finding.state == "bad"
    if before is None or (before.state is AlertState.RESOLVED and not _is_recent(before, at)):
        if not is_bad:
            return before
        assert finding is not None
        return _held(_new(finding, times, at), times, at)
    if finding is not None and is_bad:
        said = replace(
            before,
            said=finding.said,
            numbers=finding.numbers,
            severity=times.severity,
            labels={**times.labels, **finding.labels},
        )
        if before.state is AlertState.RESOLVED:
            return _held(_again(said, at), times, at)
        return _held(replace(said, ok_since=None), times, at)
    if before.state is AlertState.PENDING:
        # One that came back goes back to what it was.
        return None if before.fired_at is None else replace(before, state=AlertState.RESOLVED, resolved_at=at)
    if before.state is AlertState.FIRING:
        return _cleared(before, times, at)
    return before


def _new(finding: Finding, times: Times, at: int) -> Alert:
    return Alert(
        id=new_id("alrt"),
        tenant_id=finding.tenant_id,
        fingerprint=fingerprint_of(finding),
        rule=finding.rule,
        severity=times.severity,
        labels={**times.labels, **finding.labels},
        state=AlertState.PENDING,
        said=finding.said,
        numbers=finding.numbers,
        started_at=at,
    )


def _again(alert: Alert, at: int) -> Alert:
    """Back within the time in which it is the same one. Who knew of it before knows nothing of this."""
    return replace(
        alert,
        state=AlertState.PENDING,
        started_at=at,
        ok_since=None,
        resolved_at=None,
        acknowledged_at=None,
        acknowledged_by=None,
        note=None,
        escalated_at=None,
    )


def _held(alert: Alert, times: Times, at: int) -> Alert:
    if alert.state is not AlertState.PENDING or at - alert.started_at < times.for_seconds * SECOND:
        return alert
    flaps = alert.flaps + (alert.fired_at is not None)
    return replace(alert, state=AlertState.FIRING, fired_at=at, flaps=flaps)


def _cleared(alert: Alert, times: Times, at: int) -> Alert:
    since = alert.ok_since if alert.ok_since is not None else at
    if at - since < times.clear_seconds * SECOND:
        return replace(alert, ok_since=since)
    return replace(alert, state=AlertState.RESOLVED, ok_since=since, resolved_at=at)


def _is_recent(alert: Alert, at: int) -> bool:
    return alert.resolved_at is not None and at - alert.resolved_at < FLAP_SECONDS * SECOND


def _iso(at: int | None) -> str | None:
    return None if at is None else iso(at)
