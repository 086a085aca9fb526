"""Signing in to the console: by an API key, a one-time link or an identity provider, for a session that can be ended
at any time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from handrail.core.errors import NotFound, UsageError
from handrail.core.principal import Principal, Role
from handrail.db import Batch, Conflict, Database
from handrail.flows.services import Services
from handrail.protection.audit import AuditEntry, AuditTrail
from handrail.protection.auth import (
    CreatedLink,
    IdentityProvider,
    PermissionDenied,
    Scope,
    Session,
    SignInLink,
    SignInLinks,
    Unauthenticated,
    Visit,
    use_visit,
)

FIRST_OPERATOR = "first-operator"
EVERYTHING = (Role.OPERATOR, Role.APPROVER, Role.ADMIN)


class NobodySignsIn(UsageError):
    """There are no keys, so there is nothing to sign in to."""

    code = "invalid_request"

    def __init__(self) -> None:
        super().__init__(
            "without API keys nobody signs in: the console is open on this machine; make a key with "
            "`handrail keys create` first"
        )


@dataclass(frozen=True, slots=True)
class LinkWanted:
    """Whom the link shall sign in."""

    subject: str = FIRST_OPERATOR
    roles: list[Role] = field(default_factory=lambda: list(EVERYTHING))
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session and the text for its cookie."""

    session: Session
    cookie: str

    def __repr__(self) -> str:
        return f"SignedIn(session={self.session.id!r})"


async def sign_in_by_key(services: Services, key: str) -> SignedIn:
    """Sign in who holds this API key, for as long as the key is good.

    Raises:
        Unauthenticated: no such key works.
        PermissionDenied: it is an end user's.
    """
    if not key.startswith("hr_"):
        raise Unauthenticated("that is no API key; keys begin with 'hr_'")
    principal = await services.authenticator.authenticate(f"Bearer {key}", loopback=False)
    if principal.has_role(Role.END_USER):
        raise PermissionDenied(
            f"the key of {principal.subject!r} is an end user's: these pages are for staff; use it on the chat page"
        )
    return await _begin(services, principal)


async def sign_in_by_link(services: Services, text: str) -> SignedIn:
    """Sign in whom the link was made for; it is used up by that.

    Raises:
        Unauthenticated: it is unknown, used or too old.
    """
    link = await services.links.find(text)
    if link is None:
        raise _no_link()
    try:
        return await _begin(services, link.principal, lambda batch, at: services.links.use(batch, link, at=at))
    except Conflict as used:
        raise _no_link() from used


async def sign_in_by_provider(
    services: Services, provider: IdentityProvider, visit: Visit, answer: Mapping[str, str]
) -> SignedIn:
    """Sign in who comes back from the identity provider; the answer is used up by that.

    Raises:
        Unauthenticated: it is not good, or was used.
        PermissionDenied: they have no role here.
        ProviderUnavailable: the provider can't be asked.
    """
    principal = await provider.principal(visit, answer)
    try:
        return await _begin(services, principal, lambda batch, at: use_visit(batch, visit, principal, at=at))
    except Conflict as used:
        raise Unauthenticated(f"this answer of {provider.name} was used before; begin again") from used


async def sign_out(services: Services, by: Principal, session: Session) -> None:
    """End a session: nobody comes in by its cookie again."""
    async with services.db.batch() as batch:
        services.sessions.end(batch, session)
        services.audit.record(batch, _of_session("session.ended", by, session))


async def end_session(services: Services, principal: Principal, session_id: str) -> Session:
    """End a session of one's own, or of one's tenant as an admin.

    Raises:
        NotFound: there is no such session that this person may end.
    """
    found = next((each for each in await sessions_of(services, principal) if each.id == session_id), None)
    if found is None:
        raise NotFound(f"there is no session {session_id!r} that you may end", param="session_id")
    await sign_out(services, principal, found)
    return found


async def sessions_of(services: Services, principal: Principal) -> list[Session]:
    """Who is signed in: an admin sees the tenant's, everybody else their own."""
    found = await services.sessions.list(principal.tenant_id)
    sees_all = principal.has_role(Role.ADMIN) and (not principal.scopes or Scope.KEYS_WRITE in principal.scopes)
    return [each for each in found if sees_all or each.subject == principal.subject]


async def make_link(services: Services, operator: Principal, wanted: LinkWanted) -> CreatedLink:
    """Make a link that signs somebody of the staff in, once.

    Raises:
        UsageError: nobody has to sign in, or the link would be for no staff.
    """
    if not services.authenticator.has_keys:
        raise NobodySignsIn()
    return await add_link(services.db, services.links, services.audit, operator, wanted, services.clock.micros())


async def add_link(
    db: Database, links: SignInLinks, audit: AuditTrail, operator: Principal, wanted: LinkWanted, at: int
) -> CreatedLink:
    """Store the link, with the record that it was made."""
    whom = Principal(wanted.tenant, wanted.subject, frozenset(wanted.roles))
    async with db.batch() as batch:
        made = links.add(batch, whom, at=at)
        audit.record(batch, _of_link(operator, made.link))
    return made


async def link_at_start(services: Services) -> CreatedLink | None:
    """A link for the first operator, when there are keys and nobody ever came in by a link."""
    if not services.authenticator.has_keys or await services.links.was_used():
        return None
    wanted = LinkWanted()
    return await make_link(services, Principal(wanted.tenant, "handrail serve"), wanted)


def _of_link(operator: Principal, link: SignInLink) -> AuditEntry:
    details = tuple(("role", role.value) for role in sorted(link.roles))
    target = f"sign_in_link:{link.id}"
    return AuditEntry(link.tenant_id, "link.made", "done", target, operator, subject=link.subject, details=details)


def _nothing_used(_batch: Batch, _at: int) -> None:
    """A key signs in as often as its holder likes."""


async def _begin(
    services: Services, principal: Principal, use: Callable[[Batch, int], None] = _nothing_used
) -> SignedIn:
    at = services.clock.micros()
    async with services.db.batch() as batch:
        use(batch, at)
        session, cookie = services.sessions.begin(batch, principal, at=at)
        services.audit.record(batch, _of_session("session.began", principal, session))
    return SignedIn(session, cookie)


def _of_session(action: str, by: Principal, session: Session) -> AuditEntry:
    return AuditEntry(session.tenant_id, action, "done", f"session:{session.id}", by, subject=session.subject)


def _no_link() -> Unauthenticated:
    return Unauthenticated("this link was used, or is older than ten minutes; get a new one with `handrail keys link`")
