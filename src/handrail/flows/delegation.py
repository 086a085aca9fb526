"""The story of a delegation: an approver hands their votes to somebody for a while, and can take them back."""

from handrail.core.errors import NotFound
from handrail.core.principal import Principal, Role
from handrail.flows.audit import delegated
from handrail.flows.services import Services
from handrail.oversight.approvals import Delegation, lent
from handrail.protection.auth import PermissionDenied
from handrail.telemetry.logging import logger


async def delegate(services: Services, lender: Principal, to: str, *, days: float, reason: str | None) -> Delegation:
    """Let `to` decide what the lender may decide, from now on; raises `DelegationInvalid`, `NothingToDelegate`."""
    made = lent(lender, to, days, reason, await services.approvals.now())
    async with services.db.batch() as batch:
        services.approvals.delegations.add(batch, made)
        delegated(services, batch, lender, made.id, "delegation.made", to)
    logger().info("an approver delegated", delegation_id=made.id, ends_at=made.ends_at)
    return made


async def revoke_delegation(services: Services, principal: Principal, delegation_id: str) -> Delegation:
    """End a delegation now: the lender's own, or anybody's for operators. Votes given under it stay.

    Raises:
        NotFound: the tenant has no such delegation.
        PermissionDenied: it is somebody else's.
    """
    found = await _find(services, principal, delegation_id)
    if found.lender != principal.subject and not principal.has_role(Role.OPERATOR, Role.ADMIN):
        raise PermissionDenied(f"delegation {delegation_id!r} is {found.lender!r}'s; ask them or an operator")
    async with services.db.batch() as batch:
        services.approvals.delegations.revoke(batch, principal.tenant_id, delegation_id, principal.subject)
        delegated(services, batch, principal, delegation_id, "delegation.revoked", found.lender)
    logger().info("a delegation was revoked", delegation_id=delegation_id)
    return await _find(services, principal, delegation_id)


async def _find(services: Services, principal: Principal, delegation_id: str) -> Delegation:
    found = await services.approvals.delegations.find(principal.tenant_id, delegation_id)
    if found is None:
        raise NotFound(f"there is no delegation {delegation_id!r}", param="delegation_id")
    return found
