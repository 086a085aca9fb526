"""Who is calling: end users, operators and services are all principals."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a principal is; operators of every kind are not end users and end users are no operators."""

    END_USER = "end_user"
    VIEWER = "viewer"
    REVIEWER = "reviewer"
    APPROVER = "approver"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Tenant and subject never come from a request body or an unsigned header. Teams decide approvals."""

    tenant_id: str
    subject: str
    roles: frozenset[Role] = frozenset({Role.END_USER})
    scopes: frozenset[str] = frozenset()
    key_id: str | None = None
    teams: frozenset[str] = frozenset()

    def has_role(self, *roles: Role) -> bool:
        return not self.roles.isdisjoint(roles)
