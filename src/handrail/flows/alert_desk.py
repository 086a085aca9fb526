"""What staff see of alerts and do about them, as API bodies: the same for the API, the console and the command line."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any

from handrail.core.clock import Clock, iso
from handrail.core.errors import NotFound, UsageError
from handrail.core.ids import new_id
from handrail.core.principal import Principal
from handrail.db import Batch, Conflict, Database
from handrail.flows.services import Services
from handrail.flows.switches import view_of
from handrail.insight.alerts import RULES, Alert, Alerts, Change, Notice, RuleState, Silence
from handrail.insight.alerts.notices import runbook_link, trace_link
from handrail.protection.audit import AuditEntry, AuditTrail
from handrail.protection.auth import PermissionDenied
from handrail.protection.rate_limits import Rate

EVERYWHERE = "*"
HOUR_MICROS = 3600 * 1_000_000
MOST_HOURS = 24 * 30
MOST_MATCHERS = 10
ELSEWHERE = "something that your tenant's agents do not name"
_NAMING = ("tool ", "model ")
Body = dict[str, Any]
# What a tenant's own agents are called, for alerts of the deployment that name an agent's tool or model.
Names = Callable[[str], Collection[str]]


class AlertConflict(UsageError):
    """Somebody else was faster."""

    code = "alert_conflict"


@dataclass(frozen=True, slots=True)
class SilenceWanted:
    """What nobody shall be told of, from when and for how long; nothing matched means everything."""

    matchers: Mapping[str, str]
    hours: float
    reason: str
    starts_in_hours: float = 0.0


class AlertDesk:
    """Alerts as one principal may see them: their tenant's, and those of the whole deployment."""

    def __init__(
        self,
        alerts: Alerts,
        db: Database,
        clock: Clock,
        principal: Principal,
        audit: AuditTrail,
        names: Names,
        tests: Rate | None = None,
    ) -> None:
        self._alerts = alerts
        self._store = alerts.store
        self._db = db
        self._clock = clock
        self._principal = principal
        self._audit = audit
        self._tenant = view_of(principal)
        self._tests = tests
        self._names = set[str]() if self._tenant is None else set(names(self._tenant))

    @property
    def is_of_deployment(self) -> bool:
        """Whether this person looks after what is of the whole deployment, and not of a tenant alone."""
        return self._tenant in (None, self._alerts.operated_by)

    async def list(self, *, state: str = "any", rule: str = "any", before: str | None = None, limit: int = 50) -> Body:
        """A page of alerts, newest first."""
        found = await self._store.list(self._tenant, state=state, rule=rule, before=before, limit=limit)
        cursor = found[-1].id if len(found) == limit else None
        return {"data": [self._body(each) for each in found if self._sees(each)], "next_cursor": cursor}

    async def show(self, alert_id: str) -> Body:
        """One alert, with who was told what and when."""
        alert = await self._find(alert_id)
        told = await self._store.told_of(alert.id)
        return self._body(alert) | {"notices": [each.body() for each in told]}

    async def acknowledge(self, alert_id: str, note: str | None = None) -> Body:
        """Say that somebody looks after it: it is not escalated and not told again. The first one who does is on it.

        Raises:
            NotFound: there is no such alert for this person.
            PermissionDenied: it is of the whole deployment, which others look after.
            AlertConflict: it is over.
        """
        for _ in range(5):
            alert = await self._find(alert_id)
            if alert.tenant_id == EVERYWHERE:
                self._require_of_deployment(f"alert {alert_id!r} is of the whole deployment")
            if alert.acknowledged_at is not None:
                return self._body(alert)
            if not alert.is_open:
                raise AlertConflict(f"alert {alert_id!r} is resolved; there is nothing left to acknowledge")
            after = replaced(
                alert,
                acknowledged_at=self._clock.micros(),
                acknowledged_by=self._principal.subject,
                note=note,
            )
            try:
                async with self._db.batch() as batch:
                    self._store.apply(batch, Change(alert, after))
                    self._record(batch, "alert.acknowledged", f"alert:{alert.id}", (("rule", alert.rule),))
            except Conflict:
                # The rules were looked at in the same moment.
                continue
            return self._body(after)
        raise AlertConflict(f"alert {alert_id!r} keeps changing; try again")

    async def silences(self) -> Sequence[Body]:
        """What holds or is planned, and the maintenance of the file."""
        known = [each for each in await self._store.silences() if self._tenant in (None, each.tenant_id)]
        return [each.body() for each in known]

    def maintenance(self) -> Sequence[Body]:
        """The windows of `alerts.yaml`."""
        at = self._clock.micros() / 1_000_000
        return [
            each.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {"now": each.covers(at)}
            for each in self._alerts.config.file.maintenance
        ]

    async def silence(self, wanted: SilenceWanted) -> Body:
        """Tell nobody of what matches; a tenant's staff silence their own alerts, the local operator all.

        Raises:
            UsageError: no reason, or for too long.
        """
        if not wanted.reason.strip():
            raise UsageError("a silence needs a reason, which the next one who looks will want", param="reason")
        if not 0 < wanted.hours <= MOST_HOURS or not 0 <= wanted.starts_in_hours <= MOST_HOURS:
            raise UsageError(f"a silence lasts up to {MOST_HOURS} hours and begins within as many", param="hours")
        if len(wanted.matchers) > MOST_MATCHERS:
            raise UsageError(f"a silence has at most {MOST_MATCHERS} matchers", param="matchers")
        rule = wanted.matchers.get("rule")
        if rule is not None and rule not in RULES:
            raise UsageError(f"there is no rule {rule!r}; there are {', '.join(RULES)}", param="matchers")
        at = self._clock.micros()
        starts_at = at + round(wanted.starts_in_hours * HOUR_MICROS)
        made = Silence(
            id=new_id("slc"),
            tenant_id=self._tenant or EVERYWHERE,
            matchers=dict(wanted.matchers),
            starts_at=starts_at,
            ends_at=starts_at + round(wanted.hours * HOUR_MICROS),
            reason=wanted.reason,
            created_by=self._principal.subject,
            created_at=at,
        )
        async with self._db.batch() as batch:
            self._store.add_silence(batch, made)
            self._record(batch, "alerts.silenced", f"silence:{made.id}", (("until", iso(made.ends_at)),))
        return made.body()

    async def end_silence(self, silence_id: str) -> Body:
        """Tell again; what fires meanwhile is told at the next look.

        Raises:
            NotFound: there is no such silence for this person.
        """
        found = await self._store.find_silence(silence_id)
        if found is None or self._tenant not in (None, found.tenant_id):
            raise NotFound(f"there is no silence {silence_id!r}", param="silence_id")
        try:
            async with self._db.batch() as batch:
                self._store.end_silence(batch, silence_id, by=self._principal.subject)
                self._record(batch, "alerts.unsilenced", f"silence:{silence_id}", ())
        except Conflict:
            # Ended already: it is what was wanted.
            pass
        ended = await self._store.find_silence(silence_id)
        assert ended is not None, "silences are forgotten after months"
        return ended.body()

    async def rules(self) -> Body:
        """Every rule as it is set, with what it said last; and whether the file is good."""
        said = {(each.rule, each.tenant_id): each for each in await self._store.rule_states(self._tenant)}
        rules = self._alerts.config.file.rules
        shown: list[Body] = []
        for name in RULES:
            rule = rules.named(name)
            assert rule is not None
            words = [each for (of, _), each in said.items() if of == name]
            shown.append(
                {
                    "name": name,
                    "object": "alert_rule",
                    "says": (type(rule).__doc__ or "").strip(),
                    "enabled": rule.enabled,
                    "severity": rule.severity,
                    "for_seconds": rule.for_seconds,
                    "clears_after_seconds": rule.clear_seconds,
                    "settings": rule.model_dump(mode="json", exclude=_COMMON),
                    "states": [
                        {
                            "tenant": None if each.tenant_id == EVERYWHERE else each.tenant_id,
                            "state": each.state,
                            "said": self._told(each),
                            "changed_at": iso(each.changed_at),
                        }
                        for each in words
                    ],
                }
            )
        channels = list(self._alerts.sender.channels)
        return {"data": shown, "next_cursor": None, "channels": channels, "problem": self._alerts.config.problem}

    async def notices(self, *, limit: int = 20) -> Sequence[Body]:
        """Who was told what, newest first."""
        found = await self._store.newest_notices(self._tenant, limit=limit)
        return [each.body() for each in found if await self._may_read(each.notice)]

    async def _may_read(self, notice: Notice) -> bool:
        """A message to the deployment may be about what another tenant's tools and models are called."""
        if self._tenant is None or notice.tenant_id != EVERYWHERE:
            return True
        about = [await self._store.find(each) for each in notice.alert_ids]
        return all(each is None or self._sees(each) for each in about)

    def _told(self, state: RuleState) -> str:
        """The words of a rule, which begin with what they are about where that may be another tenant's."""
        words = state.said
        if self._tenant is None or state.tenant_id != EVERYWHERE or not words.startswith(_NAMING):
            return words
        own = any(words.startswith(f"{kind}{name}: ") for kind in _NAMING for name in self._names)
        return words if own else ELSEWHERE

    async def test(self, channel: str) -> Body:
        """Send a message to a channel now, and say what became of it.

        Raises:
            NotFound: there is no such channel.
            PermissionDenied: channels are of the whole deployment, which others look after.
            RateLimited: so many messages are no test any more.
        """
        self._require_of_deployment("channels are of the whole deployment")
        if channel not in self._alerts.sender.channels:
            known = ", ".join(self._alerts.sender.channels) or "none is set"
            name = f"HANDRAIL_ALERTS__CHANNELS__{channel.upper()}"
            raise NotFound(f"there is no channel {channel!r} ({known}); set {name}", param="channel")
        if self._tests is not None:
            await self._tests.require(self._principal)
        self._audit.note(
            AuditEntry(self._principal.tenant_id, "alerts.tested", "done", f"channel:{channel}", self._principal)
        )
        at = self._clock.micros()
        body = f"{self._principal.subject} asked for it at {iso(at)}. Nothing is wrong."
        notice = Notice.about("digest", channel, EVERYWHERE, f"test/{at}", "Handrail: this is a test", body)
        (outcome,) = await self._alerts.sender.send(channel, [notice])
        return {"object": "alert_test", "channel": channel, "sent": not outcome.error, "error": outcome.error or None}

    def _require_of_deployment(self, what: str) -> None:
        if not self.is_of_deployment:
            tenant = self._alerts.operated_by
            raise PermissionDenied(
                f"{what}: operators of tenant {tenant!r} look after it (HANDRAIL_ALERTS__OPERATED_BY)"
            )

    def _record(
        self, batch: Batch, action: str, target: str, details: tuple[tuple[str, str | int | bool | None], ...]
    ) -> None:
        entry = AuditEntry(self._principal.tenant_id, action, "done", target, self._principal, details=details)
        self._audit.record(batch, entry)

    async def _find(self, alert_id: str) -> Alert:
        found = await self._store.find(alert_id)
        if found is None or (self._tenant not in (None, found.tenant_id) and found.tenant_id != EVERYWHERE):
            raise NotFound(f"there is no alert {alert_id!r}", param="alert_id")
        if not self._sees(found):
            raise NotFound(f"there is no alert {alert_id!r}", param="alert_id")
        return found

    def _sees(self, alert: Alert) -> bool:
        """What another tenant's tools and models are called is not for everybody."""
        if self._tenant is None or alert.tenant_id != EVERYWHERE or alert.labels.get("kind") not in ("tool", "model"):
            return True
        return alert.labels.get("name") in self._names

    def _body(self, alert: Alert) -> Body:
        desk = self._alerts.desk((), self._clock.micros())
        return alert.body() | {
            "runbook": runbook_link(alert, desk),
            "traces": trace_link(alert, desk),
        }


def desk_of(services: Services, principal: Principal) -> AlertDesk:
    """The desk of a process that serves."""
    return AlertDesk(
        services.alerts,
        services.db,
        services.clock,
        principal,
        services.audit,
        services.releases.names_of,
        services.channel_tests,
    )


_COMMON = {"enabled", "holds", "clears_after", "severity", "labels", "runbook"}
