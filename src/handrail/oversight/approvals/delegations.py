"""Delegations: an approver lets somebody else decide in their place for a while.

What is lent is what the lender is when they lend it, roles and teams, never what others lent to them: there are no
chains. It counts as the lender's own vote, is written into every vote given under it, and ends by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, bindparam, func, insert, update

from handrail.core import json
from handrail.core.clock import iso
from handrail.core.errors import UsageError
from handrail.core.ids import new_id
from handrail.core.principal import Principal, Role
from handrail.db import Batch, Database, Prepared, Row, now, scoped
from handrail.oversight.approvals.records import Capacity
from handrail.oversight.approvals.tables import approval_delegation

MOST_DAYS = 90
_DAY = 24 * 3600 * 1_000_000
_DECIDING = (Role.APPROVER, Role.OPERATOR, Role.ADMIN)

_d = approval_delegation
_ADD = Prepared(insert(_d))
_FIND = Prepared(scoped(_d).where(_d.c.id == bindparam("id")))
_LIST = Prepared(scoped(_d).order_by(_d.c.id.desc()).limit(bindparam("limit")))
_IN_FORCE = Prepared(
    scoped(_d)
    .where(
        _d.c.delegate == bindparam("delegate"),
        _d.c.ends_at > now(),
        _d.c.starts_at <= now(),
        _d.c.revoked_at.is_(None),
    )
    .order_by(_d.c.id)
)
_REVOKE = Prepared(
    update(_d)
    .where(_d.c.tenant_id == bindparam("tenant_id"), _d.c.id == bindparam("id_"))
    .values(
        revoked_at=func.coalesce(_d.c.revoked_at, now()),
        revoked_by=func.coalesce(_d.c.revoked_by, bindparam("revoked_by_", type_=Text)),
    )
)


class DelegationInvalid(UsageError):
    """This can't be lent: to oneself, or for too long."""

    code = "invalid_delegation"


class NothingToDelegate(UsageError):
    """Whoever decides nothing themselves has nothing to lend; what others lent to them can't be handed on."""

    code = "permission_denied"


@dataclass(frozen=True, slots=True)
class Delegation:
    """`delegate` may vote as `lender` would, from `starts_at` until `ends_at` or until it is revoked."""

    id: str
    tenant_id: str
    lender: str
    delegate: str
    capacity: Capacity
    reason: str | None
    starts_at: int
    ends_at: int
    created_at: int
    revoked_at: int | None = None
    revoked_by: str | None = None

    @classmethod
    def of(cls, row: Row) -> "Delegation":
        values: dict[str, Any] = {name: row[name] for name in cls.__slots__}
        values["capacity"] = Capacity.of(json.loads(row["capacity"]))
        return cls(**values)

    def status_at(self, at: int) -> str:
        if self.revoked_at is not None:
            return "revoked"
        if at >= self.ends_at:
            return "ended"
        return "in_force" if at >= self.starts_at else "planned"

    def body(self, at: int) -> dict[str, Any]:
        """As the API shows it at this moment."""
        return {
            "id": self.id,
            "object": "approval_delegation",
            "lender": self.lender,
            "delegate": self.delegate,
            "roles": sorted(self.capacity.roles),
            "teams": sorted(self.capacity.teams),
            "reason": self.reason,
            "status": self.status_at(at),
            "starts_at": iso(self.starts_at),
            "ends_at": iso(self.ends_at),
            "created_at": iso(self.created_at),
            "revoked_at": None if self.revoked_at is None else iso(self.revoked_at),
            "revoked_by": self.revoked_by,
        }


def lent(lender: Principal, to: str, days: float, reason: str | None, at: int) -> Delegation:
    """A delegation of all that the lender may decide themselves, from now on.

    Raises:
        DelegationInvalid: with what to change.
        NothingToDelegate: they decide nothing themselves.
    """
    if not lender.has_role(*_DECIDING) and not lender.teams:
        raise NothingToDelegate(f"{lender.subject!r} has no deciding role and no team, so there is nothing to delegate")
    if not to.strip() or (reason is not None and not reason.strip()):
        raise DelegationInvalid("a delegate or a reason of nothing but spaces says nothing; name somebody", param="to")
    if to.strip() == lender.subject:
        raise DelegationInvalid(f"{to!r} decides already; name somebody else", param="to")
    if not 0 < days <= MOST_DAYS:
        raise DelegationInvalid(
            f"{days:g} days is not more than 0 and at most {MOST_DAYS}; ask again then", param="days"
        )
    return Delegation(
        id=new_id("dele"),
        tenant_id=lender.tenant_id,
        lender=lender.subject,
        delegate=to,
        capacity=Capacity(lender.roles, lender.teams, lender.subject),
        reason=reason,
        starts_at=at,
        ends_at=at + int(days * _DAY),
        created_at=at,
    )


class DelegationStore:
    """The table of delegations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, each: Delegation) -> None:
        values = {name: getattr(each, name) for name in Delegation.__slots__}
        batch.add(_ADD, values | {"capacity": json.dumps(each.capacity.as_json())})

    def revoke(self, batch: Batch, tenant_id: str, delegation_id: str, by: str) -> None:
        """End it now; the first revocation stays."""
        batch.add(_REVOKE, {"tenant_id": tenant_id, "id_": delegation_id, "revoked_by_": by}, expect=1)

    async def find(self, tenant_id: str, delegation_id: str) -> Delegation | None:
        row = await self._db.fetch_one(_FIND, {"tenant_id": tenant_id, "id": delegation_id})
        return Delegation.of(row) if row is not None else None

    async def list(self, tenant_id: str, *, limit: int = 200) -> Sequence[Delegation]:
        """The tenant's, newest first; those that are over stay in the list."""
        return [Delegation.of(row) for row in await self._db.scan(_LIST, {"tenant_id": tenant_id, "limit": limit})]

    async def lent_to(self, tenant_id: str, subject: str) -> tuple[Capacity, ...]:
        """In which capacities of others somebody may act at this moment, by the database's clock."""
        rows = await self._db.fetch_all(_IN_FORCE, {"tenant_id": tenant_id, "delegate": subject})
        return tuple(Delegation.of(row).capacity for row in rows)
