"""The story of an erasure: their way in and their data key first, so that every copy is unreadable at once; then the
rows; then the record.

Whatever is interrupted goes on at the next start, and so does what a restored backup has brought back: nothing is
answered before.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from handrail.core.clock import iso
from handrail.core.errors import NotFound
from handrail.core.principal import Principal, Role
from handrail.db import Conflict
from handrail.flows.cancel import TurnOver, cancel_turn
from handrail.flows.forgetting import forget_conversation
from handrail.flows.rollup import count_of_subject
from handrail.flows.services import Services
from handrail.protection.audit import AuditEntry
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied, require_role
from handrail.protection.encryption import Erasure
from handrail.telemetry.logging import logger

SEALED_PROMISE = "copies and backups of the database can't be read any more: the key is destroyed"
PLAIN_PROMISES = (
    "backups made before still hold it in plain text: delete them, or restore none of them elsewhere",
    "the disk, its snapshots and the database's own archives may keep overwritten blocks",
)
ALWAYS = "the subject's own id stays in older backups and, as an HMAC, in the audit log and the list of erasures"


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did, and what it can't promise."""

    erasure: Erasure
    conversations: int
    is_sealed: bool
    remains: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        return {
            "object": "erasure",
            "tenant": self.erasure.tenant_id,
            "subject_hash": self.erasure.owner,
            "conversations": self.conversations,
            "key_destroyed": self.is_sealed,
            "remains": list(self.remains),
            "erased_at": iso(self.erasure.erased_at),
        }


def tenant_for(principal: Principal, tenant: str | None) -> str:
    """Whose users this person answers for; another tenant's only at the server's own machine."""
    require_role(principal, Role.ADMIN)
    if tenant is not None and tenant != principal.tenant_id and principal != LOCAL_OPERATOR:
        raise PermissionDenied("only the local operator may name another tenant")
    return tenant or principal.tenant_id


async def erase(services: Services, principal: Principal, subject: str, tenant: str | None = None) -> Erased:
    """Erase all that was said by and to one user until now; erasing twice does no harm.

    Raises:
        PermissionDenied: not an admin of that tenant.
    """
    tenant_id, encryption = tenant_for(principal, tenant), services.encryption
    store = await encryption.store()
    owner = store.owner_of(tenant_id, subject)
    await _shut_out(services, tenant_id, subject, services.clock.micros(), principal)
    await count_of_subject(services, tenant_id, subject)
    if encryption.keys is not None:
        await store.retire(tenant_id, owner, at=services.clock.micros())
        encryption.keys.forget()
        # Another process may have the key at hand for so long, and write with it.
        await asyncio.sleep(0 if services.limits.sole_owner else encryption.keys.seconds)
    await _stop(services, tenant_id, subject)
    erasure = Erasure(tenant_id, owner, services.clock.micros())
    await store.destroy(erasure)
    count = await _carry_out(services, erasure, subject, principal)
    exports = sorted(each.name for each in services.background.exports.files())
    plain = () if encryption.is_on else PLAIN_PROMISES
    listed = (f"exports made before hold it in plain text, if it is theirs: {', '.join(exports)}",) if exports else ()
    return Erased(erasure, count, encryption.is_on, (*plain, *listed, ALWAYS))


async def replay(services: Services) -> int:
    """At every start, before anything is answered: carry out what one of the two lists of erasures lacks. How many."""
    store = await services.encryption.known_store()
    done = set(await services.background.erasures.all())
    if store is None and not done:
        return 0
    store = store or await services.encryption.store()
    known = set(await store.erasures())
    for each in sorted(done - known, key=lambda one: one.erased_at):
        await store.destroy(each)
    missing = sorted(known - done, key=lambda one: one.erased_at)
    if missing:
        logger().warning("erasures are carried out again", count=len(missing))
        names = {(tenant, store.owner_of(tenant, name)): name for tenant, name in await _subjects(services)}
        for each in missing:
            # Two replicas that start together: one of them notes it.
            with suppress(Conflict):
                await _carry_out(services, each, names.get((each.tenant_id, each.owner)), None)
    return len(missing) + len(done - known)


async def _subjects(services: Services) -> list[tuple[str, str]]:
    return [*await services.background.subjects.subjects(), *await services.keys.subjects()]


async def _shut_out(services: Services, tenant_id: str, subject: str, until: int, by: Principal | None) -> None:
    """Their keys, links and sessions are gone: who they were made for is not known any more."""
    theirs = await services.keys.of_subject(tenant_id, subject, until=until)
    async with services.db.batch() as batch:
        services.keys.forget(batch, tenant_id, subject, until=until, at=services.clock.micros())
        services.sessions.end_all(batch, tenant_id, subject, until=until)
        services.links.forget(batch, tenant_id, subject, until=until)
        for each in theirs:
            if each.revoked_at is None:
                services.audit.record(batch, AuditEntry(tenant_id, "key.revoked", "done", f"key:{each.id}", by))
    services.authenticator.forget()


async def _stop(services: Services, tenant_id: str, subject: str) -> None:
    """What runs for them runs no more; a turn that still does finds its rows gone."""
    themselves = Principal(tenant_id, subject)
    for conversation in await _conversations(services, tenant_id, subject, services.clock.micros()):
        for turn_id, _ in await services.conversations.open_turns(tenant_id, conversation):
            with suppress(TurnOver, NotFound):
                await cancel_turn(services, themselves, turn_id)


async def _carry_out(services: Services, erasure: Erasure, subject: str | None, by: Principal | None) -> int:
    """Delete the rows, then note that they are gone, with the audit record."""
    background, count = services.background, 0
    tenant_id, until = erasure.tenant_id, erasure.erased_at
    if subject is not None:
        await _shut_out(services, tenant_id, subject, until, by)
    while subject is not None and (found := await _conversations(services, tenant_id, subject, until)):
        for conversation_id in found:
            async with services.db.batch(long=True) as batch:
                forget_conversation(services, batch, tenant_id, conversation_id)
        count += len(found)
    details = (("conversations", count), ("key_destroyed", services.encryption.is_on))
    async with services.db.batch(long=True) as batch:
        if subject is not None:
            background.subjects.forget_keys(batch, tenant_id, subject, until=until)
            services.last_good.forget(tenant_id, subject)
        background.erasures.add(batch, erasure)
        entry = AuditEntry(tenant_id, "subject.erased", "done", f"erasure:{erasure.owner}", by, details=details)
        services.audit.record(batch, entry)
    if not services.encryption.is_on:
        held = ("conversation", "turn", "message", "tool_call", "token", "approval", "escalation", "trace", "feedback")
        await services.db.scrub(*held, "api_key", "console_session", "sign_in_link", "search_entry")
    else:
        # No key of theirs dies with them: words lie under the tenant's.
        await services.db.scrub("search_entry", log_only=True)
    return count


async def _conversations(services: Services, tenant_id: str, subject: str, until: int) -> list[str]:
    return [each.id for each in await services.background.subjects.page(tenant_id, subject, until=until)]
