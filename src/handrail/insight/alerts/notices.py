"""Who is told of what, and when: routes, silences, grouping, escalation, repetition. Pure."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlencode

from handrail.core.clock import iso
from handrail.db import Row
from handrail.insight.alerts.lifecycle import FLAP_SECONDS, SECOND, Alert, AlertState
from handrail.insight.alerts.schema import AlertsFile, Match, Route, seconds

# More tenants than these with the same at once are one message, which none of them is shown as its own.
MOST_TENANTS_APART = 5
SEVERAL = ""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
# What channels take for a call to people, or for a link with words of its own; and what they make a link of.
_CALLS = re.compile(r"@(?=\w)|<(?=[!@#])|\](?=\()")
_LINKS = re.compile(r":(?=//)")
_NOTHING_WIDE = "\u200b"
MOST_TITLE = 200

Kind = Literal["firing", "resolved", "escalated", "repeated", "approval", "case", "digest"]


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which nobody is told of what matches; of a tenant, or of all under `*`.

    One that begins later is planned maintenance. Labels may name `rule` and `severity` besides those of the alert.
    """

    id: str
    tenant_id: str
    matchers: Mapping[str, str]
    starts_at: int
    ends_at: int
    reason: str
    created_by: str
    created_at: int
    ended_at: int | None = None
    ended_by: str | None = None

    def silences(self, alert: Alert, at: int) -> bool:
        if not (self.starts_at <= at < self.ends_at) or self.ended_at is not None:
            return False
        if self.tenant_id not in ("*", alert.tenant_id):
            return False
        known = {**alert.labels, "rule": alert.rule, "severity": alert.severity}
        return all(known.get(name) == value for name, value in self.matchers.items())

    def body(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "object": "alert_silence",
            "tenant": None if self.tenant_id == "*" else self.tenant_id,
            "matchers": dict(self.matchers),
            "starts_at": iso(self.starts_at),
            "ends_at": iso(self.ends_at),
            "reason": self.reason,
            "created_by": self.created_by,
            "created_at": iso(self.created_at),
            "ended_at": None if self.ended_at is None else iso(self.ended_at),
            "ended_by": self.ended_by,
        }


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one channel. `id` is the same however often it is worked out or sent: receivers can tell."""

    id: str
    tenant_id: str
    channel: str
    kind: Kind
    severity: str
    alert_ids: Sequence[str]
    title: str
    body: str
    created_at: int = 0

    @classmethod
    def about(cls, kind: Kind, channel: str, tenant_id: str, what: str, title: str, body: str) -> "Notice":
        """One that is not about alerts; `what` makes it one and the same however often it is asked for."""
        body = "\n".join(_quiet(_CONTROLS.sub(" ", line)) for line in body.split("\n"))
        return cls(_id(kind, channel, [what]), tenant_id, channel, kind, "info", (), plain(title)[:MOST_TITLE], body)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice with what became of it."""

    notice: Notice
    status: str
    attempts: int
    next_at: int
    sent_at: int | None
    error: str | None

    @classmethod
    def of(cls, row: Row) -> "Delivery":
        notice = Notice(
            row["id"], row["tenant_id"], row["channel"], row["kind"], row["severity"],
            tuple(each for each in row["alert_ids"].split(" ") if each), row["title"], row["body"], row["created_at"],
        )  # fmt: skip
        return cls(notice, row["status"], row["attempts"], row["next_at"], row["sent_at"], row["error"])

    def body(self) -> dict[str, Any]:
        """As the API shows it."""
        notice = self.notice
        return {
            "id": notice.id,
            "object": "alert_notice",
            "channel": notice.channel,
            "kind": notice.kind,
            "title": notice.title,
            "status": self.status,
            "attempts": self.attempts,
            "created_at": iso(notice.created_at),
            "sent_at": None if self.sent_at is None else iso(self.sent_at),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Places:
    """Where the links of a message lead; without an address of the console they are paths."""

    console: str = ""
    runbooks: str = ""


@dataclass(slots=True)
class Desk:
    """What is known when notices are written."""

    file: AlertsFile
    channels: Sequence[str]
    silences: Sequence[Silence]
    at: int
    places: Places = field(default_factory=Places)

    def is_silenced(self, alert: Alert) -> bool:
        if any(silence.silences(alert, self.at) for silence in self.silences):
            return True
        return any(each.covers(self.at / SECOND) and _matches(each.match, alert) for each in self.file.maintenance)

    def route(self, alert: Alert) -> Route:
        """The first that matches; without any route, every channel. A channel is never told of its own failing."""
        found = next((each for each in self.file.routes if _matches(each.match, alert)), None)
        if found is None:
            found = Route(to=[] if self.file.routes else list(self.channels))
        if alert.rule == "channel_failing":
            others = [each for each in self.channels if each != alert.labels.get("channel")]
            wanted = [each for each in found.to if each in others]
            return Route(to=wanted or others)
        return found.model_copy(update={"to": [each for each in found.to if each in self.channels]})


def tell(alerts: Sequence[Alert], desk: Desk) -> tuple[list[Alert], list[Notice]]:
    """The alerts with what they now are told of, and the notices that say it."""
    wanted: dict[tuple[str, str, Kind], list[Alert]] = {}
    changed: list[Alert] = []
    newest_of_rule = _newest_told(alerts)
    for alert in alerts:
        kind, channels = _due(alert, desk, newest_of_rule.get((alert.tenant_id, alert.rule), 0))
        if kind is None:
            changed.append(alert)
            continue
        for channel in channels:
            wanted.setdefault((alert.rule, channel, kind), []).append(alert)
        changed.append(_told(alert, kind, channels, desk.at))
    notices = [
        _notice(kind, channel, tenant_id, group, desk)
        for (_, channel, kind), alike in wanted.items()
        for tenant_id, group in _apart(alike).items()
    ]
    return changed, notices


def _apart(alike: Sequence[Alert]) -> Mapping[str, Sequence[Alert]]:
    """A message for each tenant, or one for all where an outage would make hundreds of them."""
    found: dict[str, list[Alert]] = {}
    for each in alike:
        found.setdefault(each.tenant_id, []).append(each)
    return found if len(found) <= MOST_TENANTS_APART else {SEVERAL: alike}


def _due(alert: Alert, desk: Desk, rule_told_at: int) -> tuple[Kind | None, Sequence[str]]:
    if alert.state is AlertState.RESOLVED:
        return ("resolved", alert.told) if alert.told else (None, ())
    if alert.state is not AlertState.FIRING or desk.is_silenced(alert):
        return None, ()
    assert alert.fired_at is not None
    route = desk.route(alert)
    is_first = not alert.told or alert.told_at is None or alert.told_at < alert.fired_at
    if is_first:
        # What comes and goes is told of no more until it has stayed.
        if alert.is_flapping and desk.at - alert.fired_at < FLAP_SECONDS * SECOND:
            return None, ()
        # Some were told of this rule just now: the rest is told together.
        if 0 < desk.at - rule_told_at < seconds(desk.file.group_for) * SECOND:
            return None, ()
        return ("firing", route.to) if route.to else (None, ())
    if alert.acknowledged_at is not None:
        return None, ()
    assert alert.told_at is not None
    if route.escalate and alert.escalated_at is None:
        further = [each for each in route.escalate.to if each in desk.channels]
        if further and desk.at - alert.fired_at >= seconds(route.escalate.after) * SECOND:
            return "escalated", further
    if route.to and desk.at - alert.told_at >= max(60, seconds(desk.file.repeat_after)) * SECOND:
        return "repeated", alert.told
    return None, ()


def _told(alert: Alert, kind: Kind, channels: Sequence[str], at: int) -> Alert:
    alert = replace(alert, notices=alert.notices + 1)
    if kind == "resolved":
        return replace(alert, told=())
    told = tuple(dict.fromkeys((*alert.told, *channels)))
    if kind == "escalated":
        return replace(alert, told=told, escalated_at=at)
    return replace(alert, told=told, told_at=at)


def _newest_told(alerts: Iterable[Alert]) -> dict[tuple[str, str], int]:
    newest: dict[tuple[str, str], int] = {}
    for each in alerts:
        key = (each.tenant_id, each.rule)
        newest[key] = max(newest.get(key, 0), each.told_at or 0)
    return newest


def _notice(kind: Kind, channel: str, tenant_id: str, group: Sequence[Alert], desk: Desk) -> Notice:
    title, body = message(kind, group, desk)
    known = [f"{each.id}/{each.notices}" for each in group]
    return Notice(
        _id(kind, channel, known),
        tenant_id,
        channel,
        kind,
        _worst(group),
        [each.id for each in group],
        title,
        body,
    )


def _id(kind: str, channel: str, what: Sequence[str]) -> str:
    return "ntc_" + hashlib.sha256("\n".join((kind, channel, *what)).encode()).hexdigest()[:32]


def _worst(group: Iterable[Alert]) -> str:
    order = ("info", "warning", "critical")
    return max((each.severity for each in group), key=order.index)


_HEAD = {"firing": "", "resolved": "Resolved: ", "escalated": "Nobody has acknowledged: ", "repeated": "Still firing: "}
MOST_IN_A_MESSAGE = 10


def message(kind: Kind, group: Sequence[Alert], desk: Desk) -> tuple[str, str]:
    """What a channel is told: what, the numbers, since when, and where to look. Nothing that a user wrote."""
    first = group[0]
    name = first.rule.replace("_", " ")
    tenants = len({each.tenant_id for each in group})
    many = f"{len(group)} alerts" + (f" in {tenants} tenants" if tenants > 1 else "")
    what = f"{name}{_of(first)}" if len(group) == 1 else f"{name} ({many})"
    mark = "" if kind == "resolved" else f"[{_worst(group)}] "
    lines: list[str] = []
    for each in group[:MOST_IN_A_MESSAGE]:
        since = each.fired_at if each.fired_at is not None else each.started_at
        until = f" until {iso(each.resolved_at)}" if each.resolved_at is not None else ""
        often = f"; it came back {'once' if each.flaps == 1 else f'{each.flaps} times'}" if each.flaps else ""
        lines += [plain(each.said), f"  {_labels(each)}; since {iso(since)}{until}{often}"]
        if (traces := trace_link(each, desk)) is not None:
            lines.append(f"  traces: {traces}")
    if len(group) > MOST_IN_A_MESSAGE:
        lines.append(f"and {len(group) - MOST_IN_A_MESSAGE} more")
    lines.append(f"alert: {desk.places.console}/console/alerts/{first.id}")
    lines.append(f"runbook: {runbook_link(first, desk)}")
    return f"{_HEAD[kind]}{mark}{what}"[:MOST_TITLE], "\n".join(lines)


def plain(text: str) -> str:
    """What others named or wrote, on one line, so that no channel takes it for a header, a link or a call to people."""
    return _LINKS.sub(f":{_NOTHING_WIDE}", _quiet(_CONTROLS.sub(" ", text)))


def _quiet(text: str) -> str:
    return _CALLS.sub(lambda found: found[0] + _NOTHING_WIDE, text)


def runbook_link(alert: Alert, desk: Desk) -> str:
    """The deployment's own page when the rule names one."""
    rule = desk.file.rules.named(alert.rule)
    if rule is not None and rule.runbook:
        return rule.runbook
    return f"{desk.places.runbooks or 'docs/runbooks/alerts.md'}#{alert.rule}"


def trace_link(alert: Alert, desk: Desk) -> str | None:
    """The conversations behind an alert, by the filters of the console's own list: what, and from when until when."""
    kind = _behind(alert)
    if kind is None:
        return None
    times = {"since": _minute(alert.started_at - LOOKS_BACK.get(alert.rule, HOUR))}
    if alert.resolved_at is not None:
        times["until"] = _minute(alert.resolved_at + MINUTE)
    return f"{desk.places.console}/console/conversations?{urlencode(kind | times)}"


def _behind(alert: Alert) -> dict[str, str] | None:
    agent, measure = alert.labels.get("agent"), alert.labels.get("measure")
    if alert.rule == "dependency_down" and alert.labels.get("kind") == "tool":
        return {"agent": alert.labels.get("name", "").partition("/")[0], "outcome": "tool_failed"}
    if alert.rule == "dependency_down" and alert.labels.get("kind") == "model":
        # Agents of all kinds ask it, and what became of their turns is as various: what there was at that time.
        return {}
    if alert.rule == "unusual_user" and "principal" in alert.labels:
        # The list takes a pseudonym for the user; whoever may read it sees there who that is.
        outcome = {"outcome": _OUTCOMES[measure]} if measure in _OUTCOMES else {}
        return {"subject": alert.labels["principal"]} | outcome
    if agent is None:
        return None
    if alert.rule in ("error_rate", "availability_slo"):
        return {"agent": agent, "happened": "error"}
    if alert.rule == "latency_slo":
        limit = alert.numbers.get("limit_seconds")
        return {"agent": agent} | ({} if limit is None else {"min_seconds": f"{limit:g}"})
    return {"agent": agent} | ({"outcome": _OUTCOMES[measure]} if measure in _OUTCOMES else {})


# What a measure counts, as an outcome of the list of conversations.
_OUTCOMES = {"thumbs_down": "thumbs_down", "tripped": "tripped"}
# How far the rules look back: burn rates over hours, quality over a day, the others over minutes.
MINUTE = 60 * 1_000_000
HOUR = 60 * MINUTE
LOOKS_BACK: Mapping[str, int] = {"availability_slo": 6 * HOUR, "latency_slo": 6 * HOUR, "quality_drop": 24 * HOUR}


def _minute(at: int) -> str:
    return f"{iso(at)[:16]}Z"


def _of(alert: Alert) -> str:
    thing = alert.labels.get("agent") or alert.labels.get("name") or alert.labels.get("job")
    thing = thing or alert.labels.get("budget") or alert.labels.get("channel")
    return f" of {plain(thing)}" if thing else ""


def _labels(alert: Alert) -> str:
    tenant = {} if alert.tenant_id == "*" else {"tenant": alert.tenant_id}
    known = ", ".join(f"{name}={plain(value)}" for name, value in {**tenant, **alert.labels}.items())
    return known or "the whole deployment"


def _matches(match: Match, alert: Alert) -> bool:
    return match.applies(rule=alert.rule, severity=alert.severity, tenant_id=alert.tenant_id, labels=dict(alert.labels))
