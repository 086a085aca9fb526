"""Scopes: what a key or token is narrowed to. One without scopes may do all that its role allows.

One of them widens: `personal:read` lets any of the staff read identifiers of others, which else only admins may.
"""

from collections.abc import Collection
from enum import StrEnum

from handrail.core.errors import UsageError
from handrail.core.principal import Principal, Role
from handrail.protection.auth.policy import PermissionDenied


class Scope(StrEnum):
    """What a request does to what; a scope never allows what the role does not."""

    AGENTS_READ = "agents:read"
    CONVERSATIONS_READ = "conversations:read"
    CONVERSATIONS_WRITE = "conversations:write"
    TURNS_WRITE = "turns:write"
    APPROVALS_READ = "approvals:read"
    APPROVALS_DECIDE = "approvals:decide"
    RELEASES_READ = "releases:read"
    RELEASES_WRITE = "releases:write"
    SWITCHES_READ = "switches:read"
    SWITCHES_WRITE = "switches:write"
    ALERTS_READ = "alerts:read"
    ALERTS_WRITE = "alerts:write"
    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    FEEDBACK_READ = "feedback:read"
    FEEDBACK_WRITE = "feedback:write"
    VALUES_WRITE = "values:write"
    REVIEWS_WRITE = "reviews:write"
    USAGE_READ = "usage:read"
    AUDIT_READ = "audit:read"
    INSIGHT_READ = "insight:read"
    INSIGHT_WRITE = "insight:write"
    SUBJECTS_READ = "subjects:read"
    SUBJECTS_ERASE = "subjects:erase"
    PERSONAL_READ = "personal:read"


def require_scope(principal: Principal, *needed: Scope) -> None:
    """Raise `PermissionDenied` when the principal is narrowed to scopes and one of these is not among them."""
    if principal.scopes and not principal.scopes.issuperset(needed):
        raise PermissionDenied(
            f"this needs the scope {_listed(needed)}; {principal.subject!r} has {_listed(principal.scopes)}"
        )


def reads_personal_data(principal: Principal) -> bool:
    """Whether the principal may read identifiers of others as they are: an admin, or whoever's scopes name it."""
    if principal.scopes:
        return Scope.PERSONAL_READ in principal.scopes
    return principal.has_role(Role.ADMIN)


def require_known(scopes: Collection[str]) -> None:
    """Raise `UsageError` for a scope that nothing asks for: a misspelt one would lock out or seem to narrow."""
    unknown = sorted(set(scopes) - set(Scope))
    if unknown:
        raise UsageError(f"there is no scope {unknown[0]!r}; there are: {_listed(Scope)}", param="scopes")


def require_narrower(maker: Principal, scopes: Collection[str]) -> None:
    """Raise `PermissionDenied` when somebody narrowed to scopes hands out more than they have."""
    if maker.scopes and not (scopes and maker.scopes.issuperset(scopes)):
        raise PermissionDenied(
            f"{maker.subject!r} is narrowed to {_listed(maker.scopes)}; a key from them needs some of these, no others"
        )


def _listed(scopes: Collection[str]) -> str:
    return ", ".join(sorted(f"{scope}" for scope in scopes)) or "none"
