"""What those who answer for the audit log do with it: search, export, and check an export anywhere."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from handrail.core import json
from handrail.core.clock import iso
from handrail.core.errors import UsageError
from handrail.core.principal import Principal
from handrail.core.times import micros_of, require_order
from handrail.flows.services import Services
from handrail.protection.audit import (
    AuditEntry,
    AuditQuery,
    AuditRecord,
    Checkpoint,
    Verification,
    verify,
)
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied

FORMAT = "handrail-audit-export/1"
Body = dict[str, Any]


class NotAnExport(UsageError):
    """A file that should hold an exported audit log or checkpoints does not."""

    code = "not_an_audit_export"


@dataclass(frozen=True, slots=True)
class Filter:
    """What to search for. `actor` is a subject's name and is looked for by its pseudonym."""

    action: str = ""
    actor: str = ""
    target: str = ""
    outcome: str = ""
    since: int = 0
    until: int = 1 << 62
    cursor: str | None = None
    tenant: str | None = None
    limit: int = 50

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Filter":
        """From texts; times are RFC 3339. Raises `UsageError` for a time that is none."""
        texts = {name: value for name, value in given.items() if name not in ("since", "until")}
        times = {name: micros_of(name, given[name]) for name in ("since", "until") if name in given}
        require_order(times.get("since", 0), times.get("until", 1 << 62))
        return cls(**texts, **times)  # pyright: ignore[reportArgumentType]


class AuditDesk:
    """The log as one principal may see it. Looking is recorded, too."""

    def __init__(self, services: Services, principal: Principal) -> None:
        self._services = services
        self._trail = services.audit
        self._principal = principal

    async def search(self, wanted: Filter) -> Body:
        """A page of records, newest first."""
        tenant = self._tenant(wanted.tenant)
        actor = wanted.actor
        if actor and actor != "system" and not actor.startswith("hmac:"):
            actor = self._trail.pseudonyms.of(tenant, actor)
        found = await self._trail.store.search(
            AuditQuery(
                tenant,
                action=wanted.action,
                actor=actor,
                target=wanted.target,
                outcome=wanted.outcome,
                since=wanted.since,
                until=wanted.until,
                before=wanted.cursor,
                limit=wanted.limit,
            )
        )
        names = await self._names(tenant)
        self._trail.note(AuditEntry(tenant, "audit.searched", "done", "audit:log", self._principal))
        cursor = found[-1].id if len(found) == wanted.limit else None
        return {"data": [_body(each, names) for each in found], "next_cursor": cursor}

    async def export(self) -> AsyncIterator[str]:
        """JSON lines: a header, every record in its place, every checkpoint.

        The local operator gets all of it; others their own tenant's records, and of those of others the hashes that
        the proof needs.
        """
        trail = self._trail
        tenant = self._principal.tenant_id
        sees_all = self._principal == LOCAL_OPERATOR
        trail.note(AuditEntry(tenant, "audit.exported", "done", "audit:log", self._principal))
        waiting, _ = await trail.store.waiting()
        header = {"format": FORMAT, "public_keys": await trail.store.keys(), "unsealed": waiting}
        yield json.dumps({"type": "header", **header})
        async for record in trail.store.log():
            if sees_all or record.tenant_id == tenant:
                yield json.dumps({"type": "record", **{name: getattr(record, name) for name in _COLUMNS}})
            else:
                yield json.dumps({"type": "leaf", "seq": record.seq, "leaf": record.leaf})
        async for checkpoint in trail.store.checkpoints():
            yield json.dumps({"type": "checkpoint", **checkpoint.body()})

    async def newest_checkpoint(self) -> Body | None:
        """The last thing that was signed."""
        newest = await self._trail.store.newest()
        return newest.body() if newest else None

    def _tenant(self, wanted: str | None) -> str:
        own = self._principal.tenant_id
        if wanted is not None and wanted != own and self._principal != LOCAL_OPERATOR:
            raise PermissionDenied(f"you see the records of tenant {own!r} only, not of {wanted!r}")
        return wanted or own

    async def _names(self, tenant: str) -> Mapping[str, str]:
        """Pseudonyms of people who have keys, so that staff can be told apart; end users stay pseudonyms."""
        of = self._trail.pseudonyms.of
        staff = [LOCAL_OPERATOR.subject, "demo-operator"]
        staff += [key.subject for key in await self._services.keys.list(tenant) if key.role.value != "end_user"]
        return {of(tenant, subject): subject for subject in staff}


_COLUMNS = ("id", "tenant_id", "at", "action", "outcome", "actor", "target", "body", "seq", "leaf")


def _body(record: AuditRecord, names: Mapping[str, str]) -> Body:
    said = json.loads(record.body)
    body = {"object": "audit_record", **said, "at": iso(record.at), "seq": record.seq}
    if record.actor in names:
        body["actor_name"] = names[record.actor]
    return body


@dataclass(slots=True)
class Export:
    """An exported log, read back."""

    public_keys: dict[str, str] = field(default_factory=dict[str, str])
    unsealed: int = 0
    records: list[AuditRecord] = field(default_factory=list[AuditRecord])
    checkpoints: list[Checkpoint] = field(default_factory=list[Checkpoint])


# Whoever wrote the line also wrote what the error quotes.
_MOST_SAID = 200


def read_export(lines: Iterable[str]) -> Export:
    """Raises `NotAnExport` naming the line that is wrong."""
    export, began = Export(), False
    for number, line in enumerate(lines, 1):
        try:
            began = _take(export, json.loads(line)) or began
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise NotAnExport(f"line {number} is not of an audit export: {str(error)[:_MOST_SAID]}") from error
    if not began:
        raise NotAnExport("this is not an audit export: its first line is no header; `handrail audit export` makes one")
    return export


def _take(export: Export, line: Body) -> bool:
    kind = line["type"]
    if kind == "header":
        if line["format"] != FORMAT:
            raise ValueError(f"format {line['format']!r} is not {FORMAT!r}")
        keys = {str(name): str(key) for name, key in dict(line["public_keys"]).items()}
        export.public_keys, export.unsealed = keys, int(line["unsealed"])
        return True
    if kind == "record":
        export.records.append(_record(line))
    elif kind == "leaf":
        export.records.append(AuditRecord("", "", 0, "", "", "", "", "", int(line["seq"]), _hash(line["leaf"])))
    elif kind == "checkpoint":
        export.checkpoints.append(Checkpoint.parse(line))
    else:
        raise ValueError(f"type {kind!r} is unknown")
    return False


def _record(line: Body) -> AuditRecord:
    wrong = [name for name in _COLUMNS if not isinstance(line[name], int if name in ("at", "seq") else str)]
    wrong += [] if wrong or line["body"] else ["body"]
    if wrong:
        raise ValueError(f"{wrong[0]!r} has the value {str(line[wrong[0]])[:60]!r}")
    return AuditRecord(**{name: line[name] for name in _COLUMNS})


def _hash(text: object) -> str:
    if not isinstance(text, str) or len(bytes.fromhex(text)) != 32:
        raise ValueError(f"{str(text)[:60]!r} is no hash")
    return text


def read_checkpoints(lines: Iterable[str]) -> list[Checkpoint]:
    """Checkpoints that were kept: one a line, of exports or of `handrail audit checkpoint`."""
    kept: list[Checkpoint] = []
    for number, line in enumerate(lines, 1):
        try:
            body = json.loads(line)
            if body.get("type", "checkpoint") == "checkpoint":
                kept.append(Checkpoint.parse(body))
        except (ValueError, AttributeError) as error:
            raise NotAnExport(f"line {number} is not a checkpoint: {error}") from error
    return kept


async def verify_export(
    export: Export, *, kept: Iterable[Checkpoint] = (), public_keys: Mapping[str, str] | None = None
) -> Verification:
    """Check an exported log; with `public_keys` only these are believed, not the ones that came with it."""

    async def records() -> AsyncIterator[AuditRecord]:
        for each in export.records:
            yield each

    believed = export.public_keys if public_keys is None else public_keys
    return await verify(records(), export.checkpoints, believed, kept=kept, unsealed=export.unsealed)


__all__ = ["AuditDesk", "Export", "Filter", "NotAnExport", "read_checkpoints", "read_export", "verify_export"]
