"""Keys for principals: who may make them, and for whom."""

import asyncio
from dataclasses import dataclass, field

from handrail.core.principal import Principal, Role
from handrail.db import Batch
from handrail.flows.keepers import every
from handrail.flows.services import Services
from handrail.protection.audit import AuditEntry
from handrail.protection.auth import LOCAL_OPERATOR, ApiKey, CreatedKey, PermissionDenied, require_narrower

USED_SECONDS = 30.0
DAY_MICROS = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """What the new key's principal shall be; `tenant` is the maker's own when left out."""

    subject: str
    role: Role = Role.END_USER
    tenant: str | None = None
    scopes: list[str] = field(default_factory=list[str])
    expires_in_days: int | None = None
    note: str | None = None
    teams: list[str] = field(default_factory=list[str])


def tenant_of(operator: Principal, wanted: str | None) -> str:
    """The tenant an operator works in: their own; only the local operator may name another.

    Raises:
        PermissionDenied: an admin of one tenant named another.
    """
    if wanted is not None and wanted != operator.tenant_id and operator != LOCAL_OPERATOR:
        raise PermissionDenied(f"you work in tenant {operator.tenant_id!r} only, not in {wanted!r}")
    return wanted or operator.tenant_id


async def make_key(services: Services, operator: Principal, wanted: KeyWanted) -> CreatedKey:
    """Make a key in the operator's own tenant, or in any as the local operator.

    Raises:
        PermissionDenied: another tenant's, or more than the operator's own scopes.
        UsageError: there is no such scope, or no such team.
    """
    require_narrower(operator, wanted.scopes)
    tenant = tenant_of(operator, wanted.tenant)
    at = services.clock.micros()
    created = await services.keys.create(
        tenant_id=tenant,
        subject=wanted.subject,
        role=wanted.role,
        at=at,
        scopes=wanted.scopes,
        expires_at=at + wanted.expires_in_days * DAY_MICROS if wanted.expires_in_days else None,
        note=wanted.note,
        teams=wanted.teams,
        beside=lambda batch, key: services.audit.record(batch, key_made(operator, key)),
    )
    services.authenticator.forget()
    return created


async def revoke_key(services: Services, operator: Principal, tenant: str, key_id: str) -> ApiKey:
    """Stop a key for good.

    Raises:
        NotFound: the tenant has no such key.
    """
    entry = key_revoked(operator, tenant, key_id)
    revoked = await services.keys.revoke(
        tenant, key_id, at=services.clock.micros(), beside=lambda batch: services.audit.record(batch, entry)
    )
    services.authenticator.forget()
    return revoked


async def rotate_key(
    services: Services, operator: Principal, tenant: str, key_id: str, grace_seconds: int
) -> CreatedKey:
    """Replace a key by a new one for the same principal; the old one goes on for the grace.

    Raises:
        NotFound: the tenant has no such key.
        PermissionDenied: the key may do more than the operator's own scopes.
        UsageError: it was revoked or replaced, or has expired.
    """

    def beside(batch: Batch, old: ApiKey, new: ApiKey) -> None:
        # Whoever rotates a key gets to know the new one, so it must not be a way to more.
        require_narrower(operator, old.scopes)
        services.audit.record(batch, key_rotated(operator, old, new))

    created = await services.keys.rotate(
        tenant, key_id, at=services.clock.micros(), grace_seconds=grace_seconds, beside=beside
    )
    services.authenticator.forget()
    return created


def keep(services: Services) -> "asyncio.Task[None]":
    """Store now and then when keys were used; cancel the task to stop."""
    work = every(USED_SECONDS, services.authenticator.store_used, "the last use of keys")
    return asyncio.get_running_loop().create_task(work)


def key_made(operator: Principal, key: ApiKey) -> AuditEntry:
    """That somebody may come in from now on."""
    details = (("role", key.role.value),)
    return AuditEntry(
        key.tenant_id, "key.made", "done", f"key:{key.id}", operator, subject=key.subject, details=details
    )


def key_revoked(operator: Principal, tenant: str, key_id: str) -> AuditEntry:
    """That somebody may come in no more."""
    return AuditEntry(tenant, "key.revoked", "done", f"key:{key_id}", operator)


def key_rotated(operator: Principal, old: ApiKey, new: ApiKey) -> AuditEntry:
    """That another key takes the place of this one."""
    details = (("new_key_id", new.id), ("role", new.role.value))
    return AuditEntry(
        old.tenant_id, "key.rotated", "done", f"key:{old.id}", operator, subject=old.subject, details=details
    )
