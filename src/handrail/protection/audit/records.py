"""What a record says, and the one spelling that is hashed."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from handrail.core import json
from handrail.core.ids import new_id
from handrail.core.principal import Principal
from handrail.protection.audit.merkle import leaf_hash
from handrail.protection.audit.pseudonyms import Pseudonyms

Outcome = Literal["done", "denied", "failed", "unknown"]
Value = str | int | bool | None

VERSION = 1
# Identifiers, codes and numbers. Anything else may be somebody's words, and stands here as its HMAC only.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:|/+=-]{0,160}")
MOST_DETAILS = 24


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done or refused, before it is written.

    Attributes:
        action: past tense, `<thing>.<verb>` such as `approval.approved` or `tool_call.denied`.
        principal: who did it; `None` when the product itself did (an expiry, a sweep).
        target: what it was done to, as `<kind>:<id>`.
        subject: the person it is about, if it is about one; stored as an HMAC.
        details: numbers, codes and ids. A text that is not an identifier is stored as its HMAC.
    """

    tenant_id: str
    action: str
    outcome: Outcome
    target: str
    principal: Principal | None = None
    subject: str | None = None
    conversation_id: str | None = None
    release_id: str | None = None
    details: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A record as it is stored. `body` is canonical JSON and the only thing that is hashed; the rest is for searching.

    `seq` is its place in the log, from 0, once it is sealed. Of another tenant's record an export has the leaf alone.
    """

    id: str
    tenant_id: str
    at: int
    action: str
    outcome: str
    actor: str
    target: str
    body: str
    seq: int | None = None
    leaf: str | None = None

    @classmethod
    def of(cls, entry: AuditEntry, at: int, pseudonyms: Pseudonyms) -> "AuditRecord":
        """The record of an entry; who did it and whom it is about become pseudonyms."""
        record_id, tenant = new_id("aud"), entry.tenant_id
        principal = entry.principal
        actor = "system" if principal is None else pseudonyms.of(tenant, principal.subject)
        hidden = _hiding(tenant, pseudonyms)
        body: dict[str, Any] = {
            "v": VERSION,
            "id": record_id,
            "at": at,
            "tenant_id": tenant,
            "actor": actor,
            "action": entry.action,
            "outcome": entry.outcome,
            "target": _target(entry.target, hidden),
        }
        if principal is not None:
            body["roles"] = sorted(role.value for role in principal.roles)
            body["actor_tenant_id"] = principal.tenant_id
            if principal.key_id:
                body["key_id"] = principal.key_id
        if entry.subject is not None:
            body["subject"] = pseudonyms.of(tenant, entry.subject)
        if entry.conversation_id is not None:
            body["conversation_id"] = entry.conversation_id
        if entry.release_id is not None:
            body["release_id"] = entry.release_id
        if entry.details:
            body["details"] = {
                name: hidden(value) if isinstance(value, str) else value
                for name, value in entry.details[-MOST_DETAILS:]
            }
        return cls(
            id=record_id,
            tenant_id=tenant,
            at=at,
            action=entry.action,
            outcome=entry.outcome,
            actor=actor,
            target=body["target"],
            body=json.canonical(body).decode(),
        )

    @property
    def leaf_of_body(self) -> str:
        """The leaf hash that this body has, in hex."""
        return leaf_hash(self.body.encode()).hex()

    @property
    def is_leaf_only(self) -> bool:
        return not self.body and not self.id

    def contradicts_body(self) -> str | None:
        """The first searchable column that says something else than the body, if any does."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return "body"
        if not isinstance(said, dict):
            return "body"
        names = ("id", "tenant_id", "at", "action", "outcome", "actor", "target")
        return next((name for name in names if said.get(name) != getattr(self, name)), None)


def _hiding(tenant: str, pseudonyms: Pseudonyms) -> Callable[[str], str]:
    return lambda text: text if _IDENTIFIER.fullmatch(text) else pseudonyms.of(tenant, text)


def _target(target: str, hidden: Callable[[str], str]) -> str:
    kind, _, name = target.partition(":")
    return f"{kind}:{hidden(name)}"
