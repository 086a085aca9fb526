"""Who may do what. Pure: values in, a decision with its reason out."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from handrail.core.conditions import NotJudged
from handrail.core.errors import UsageError
from handrail.core.principal import Principal, Role


class PermissionDenied(UsageError):
    """The caller is known and may not do this."""

    code = "permission_denied"


class PermissionRule(Protocol):
    """An entry of `permissions:` in policies.yaml."""

    @property
    def roles(self) -> Collection[Role]:
        """One of these is enough."""
        ...

    @property
    def when(self) -> str | None:
        """A condition on the call that must hold too."""
        ...


class PermissionDecision(NamedTuple):
    """Whether a tool may run for a principal, and why."""

    allowed: bool
    reason: str


def require_role(principal: Principal, *roles: Role) -> None:
    """Raise `PermissionDenied` unless the principal has one of the roles."""
    if not principal.has_role(*roles):
        raise PermissionDenied(f"this needs {_either(roles)}; {principal.subject!r} has {_either(principal.roles)}")


def owns(principal: Principal, tenant_id: str, subject: str) -> bool:
    """Whether a thing of this tenant and subject is the principal's own."""
    return principal.tenant_id == tenant_id and principal.subject == subject


def decide_tool(
    principal: Principal,
    tool_name: str,
    rules: Mapping[str, PermissionRule],
    holds: Callable[[], bool] | None = None,
) -> PermissionDecision:
    """Whether the agent may call a tool for this principal.

    A tool without a rule runs for end users, reads and writes alike: it acts with the user's own rights, and what it
    may touch is the tool's to check against the principal. Operators are no end users: a rule must name them.

    Args:
        holds: judges the rule's condition for this call, or raises `NotJudged`; then, and without it, the answer is no.
    """
    rule = rules.get(tool_name)
    if rule is None:
        if Role.END_USER in principal.roles:
            return PermissionDecision(True, f"{tool_name!r} has no rule and end users may use it in their own name")
        return PermissionDecision(
            False,
            f"{tool_name!r} is for end users and {principal.subject!r} has {_either(principal.roles)}; "
            "name the role under permissions in policies.yaml",
        )
    named = principal.roles.intersection(rule.roles)
    if named and rule.when is not None:
        return _conditional(tool_name, rule.when, holds)
    if named:
        return PermissionDecision(True, f"{tool_name!r} is permitted to {_either(named)}")
    return PermissionDecision(
        False,
        f"{tool_name!r} is permitted to {_either(rule.roles)} and {principal.subject!r} has {_either(principal.roles)}",
    )


def _conditional(tool_name: str, condition: str, holds: Callable[[], bool] | None) -> PermissionDecision:
    """The answer that a condition gives; what can't be judged is not permitted."""
    try:
        if holds is None:
            raise NotJudged("nobody judges it")
        if holds():
            return PermissionDecision(True, f"{tool_name!r} is permitted, since {condition} holds")
    except NotJudged as error:
        return PermissionDecision(
            False, f"{tool_name!r} is permitted only when {condition}, which could not be judged ({error})"
        )
    return PermissionDecision(False, f"{tool_name!r} is permitted only when {condition}, which is not so here")


def _either(roles: Collection[Role]) -> str:
    return " or ".join(sorted(f"role {role.value!r}" for role in roles)) or "no role"
