"""What operators switch off and on: stored first, then true in this process at once and in the others within a second.

A tool or a model that is off acts as an open breaker. An agent or a tenant that is off takes no new turns; those that
run end by themselves, or are cancelled when the operator says so. Conversations of a release that is off go on under
the stable one with their next turn, and what waits for approval in them expires.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from handrail.core.errors import HandrailError, NotFound, UsageError
from handrail.core.ids import new_id
from handrail.core.principal import Principal, Role
from handrail.db import Batch, Conflict
from handrail.flows.audit import switched
from handrail.flows.services import Services
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied, require_role
from handrail.serving.resilience import EVERYWHERE, BreakerStatus, Switch, SwitchKind, named

STOPPABLE: tuple[SwitchKind, ...] = ("agent", "tenant", "release")


class ReleaseInUse(UsageError):
    """The stable release has no other one to move its conversations to."""

    code = "release_in_use"


@dataclass(frozen=True, slots=True)
class SwitchWanted:
    """What to switch off; `tenant` is for the local operator, whose switches hold everywhere without one."""

    kind: SwitchKind
    name: str
    reason: str
    tenant: str | None = None
    stop_running: bool = False


def view_of(principal: Principal) -> str | None:
    """The tenant whose switches this person sees; None for all."""
    return None if principal == LOCAL_OPERATOR else principal.tenant_id


async def switch_off(services: Services, operator: Principal, wanted: SwitchWanted) -> Switch:
    """Switch something off; what is off already stays so under its first reason, and may still be told to stop.

    Raises:
        PermissionDenied: not an operator, or of another tenant than the thing.
        NotFound: there is no such agent or release.
        ReleaseInUse: the release answers new conversations; use another one first.
    """
    require_role(operator, Role.OPERATOR, Role.ADMIN)
    if not wanted.reason.strip():
        raise UsageError("a switch needs a reason, which whoever meets it is told; say why", param="reason")
    tenant_id = _tenant_of(operator, wanted)
    if wanted.stop_running and wanted.kind not in STOPPABLE:
        raise UsageError(f"a {wanted.kind} runs no turns to stop; leave stop_running out", param="stop_running")
    name = await _known(services, operator, wanted, tenant_id)
    new = Switch(
        id=new_id("switch"),
        tenant_id=tenant_id,
        kind=wanted.kind,
        name=name,
        reason=wanted.reason,
        stops_running=wanted.stop_running,
        switched_by=operator.subject,
        created_at=services.clock.micros(),
    )
    try:
        async with services.db.batch() as batch:
            services.switch_store.switch_off(batch, new)
            switched(services, batch, operator, new, "switch.off")
            _carry_out(services, batch, new)
    except Conflict:
        known = await services.switch_store.in_force(tenant_id, wanted.kind, name)
        if known is None:
            raise
        new = replace(known, stops_running=wanted.stop_running)
        async with services.db.batch() as batch:
            _carry_out(services, batch, new)
    services.tell_to_look()
    await watch(services)
    return await services.switch_store.in_force(tenant_id, wanted.kind, name) or new


def _carry_out(services: Services, batch: Batch, new: Switch) -> None:
    """What a switch does beside being known."""
    if new.kind == "release":
        why = f"release {new.name} was switched off: {new.reason}"
        services.approvals.expire_release(batch, new.tenant_id, new.name, why)
    if new.stops_running:
        services.leases.request_cancel_of(batch, new.tenant_id, new.kind, new.name)


async def doubt(services: Services, operator: Principal, made: Switch) -> str | None:
    """What to tell an operator who switched off a tool or a model that no loaded release knows: it may be misspelt.

    The switch holds all the same: the release that knows it may be of another process, or yet to come.
    """
    if made.kind not in ("tool", "model"):
        return None
    whose = None if made.tenant_id == EVERYWHERE else made.tenant_id
    for each in await services.releases.agents(whose or operator.tenant_id):
        with suppress(HandrailError):
            await services.releases.load(whose or operator.tenant_id, each.stable_release_id or "")
    known = services.releases.tools_of(whose) if made.kind == "tool" else services.releases.models_of(whose)
    if made.name in known:
        return None
    near = get_close_matches(made.name, sorted(known), cutoff=0.5)
    meant = (
        f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are: {', '.join(sorted(known)) or 'none'}"
    )
    return f"no release that is loaded has a {made.kind} {made.name!r}, so this may stop nothing; {meant}"


async def switch_on(services: Services, operator: Principal, switch_id: str, reason: str | None) -> Switch:
    """End a switch; turns begin again at once. The first one who ends it is on record.

    Raises:
        NotFound: there is no such switch for this person.
        PermissionDenied: not an operator, or it holds for every tenant.
    """
    require_role(operator, Role.OPERATOR, Role.ADMIN)
    found = await services.switch_store.find(view_of(operator), switch_id)
    if found is None:
        raise NotFound(f"there is no switch {switch_id!r}", param="switch_id")
    if found.tenant_id != operator.tenant_id and operator != LOCAL_OPERATOR:
        raise PermissionDenied(f"switch {switch_id!r} holds for every tenant; only the local operator may end it")
    # On again already, by somebody else: it is what was wanted.
    with suppress(Conflict):
        async with services.db.batch() as batch:
            services.switch_store.switch_on(batch, found, by=operator.subject, reason=reason)
            switched(services, batch, operator, found, "switch.on")
    services.tell_to_look()
    await watch(services)
    ended = await services.switch_store.find(view_of(operator), switch_id)
    assert ended is not None, "switches are never deleted"
    return ended


async def watch(services: Services) -> None:
    """Do what operators said, here or elsewhere: know what is off, and stop the turns that are to stop."""
    async with services.switching:
        services.switches.show(await services.switch_store.off())
    if services.running:
        stop(services, await services.leases.to_cancel(services.limits.owner))


def stop(services: Services, turn_ids: Sequence[str]) -> None:
    """Cancel turns that run here; what is being stored already ends as it is."""
    for turn_id in turn_ids:
        task = services.running.get(turn_id)
        if task is not None and turn_id not in services.ending:
            task.cancel()


def breakers_of(services: Services, principal: Principal) -> list[dict[str, Any]]:
    """Every breaker this process knows, as API bodies; a tenant's people see those of their own agents."""
    tenant_id = view_of(principal)
    mine = None if tenant_id is None else services.releases.names_of(tenant_id)
    shown = [_breaker_body(each) for each in services.breakers.states()]
    return [each for each in shown if mine is None or each["name"] in mine]


def _breaker_body(status: BreakerStatus) -> dict[str, Any]:
    kind, name = named(status.key)
    return {
        "object": "breaker",
        "kind": kind,
        "name": name,
        "key": status.key,
        "state": status.state.value,
        "reason": status.reason or None,
        "calls": status.calls,
        "failed": status.failed,
        "slow": status.slow,
        "in_state_seconds": round(status.in_state_seconds, 1),
        "retry_after_seconds": None if status.retry_after_seconds is None else round(status.retry_after_seconds, 1),
    }


def _tenant_of(operator: Principal, wanted: SwitchWanted) -> str:
    """Whose turns it shall hold for."""
    if operator == LOCAL_OPERATOR:
        return wanted.name if wanted.kind == "tenant" else wanted.tenant or EVERYWHERE
    named = wanted.name if wanted.kind == "tenant" else wanted.tenant or operator.tenant_id
    if named != operator.tenant_id:
        raise PermissionDenied(f"you work in tenant {operator.tenant_id!r} only, not in {named!r}")
    return named


async def _known(services: Services, operator: Principal, wanted: SwitchWanted, tenant_id: str) -> str:
    """The full name of what is to be off. A switch for an agent or release that does not exist would be a false
    comfort; which tools and models exist is known to the releases that are loaded alone, so there is only a `doubt`."""
    place = operator.tenant_id if tenant_id == EVERYWHERE else tenant_id
    if wanted.kind == "release":
        release = await services.releases.find(place, wanted.name)
        if await services.releases.stable(place, release.agent) == release.id:
            raise ReleaseInUse(
                f"release {release.id!r} answers new conversations of {release.agent!r}; let another one answer first "
                f"(`handrail release use`), or switch the agent off",
                param="name",
            )
        return release.id
    if wanted.kind == "agent" and await services.releases.stable(place, wanted.name) is None:
        raise NotFound(f"tenant {place!r} has no agent {wanted.name!r}", param="name")
    return wanted.name
