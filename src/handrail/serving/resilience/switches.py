"""What operators have switched off, as every turn asks it: a dictionary in memory, filled from the database."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from handrail.core.clock import iso
from handrail.core.errors import HandrailError
from handrail.db import Row
from handrail.serving.resilience.breaker import BreakerOpen

SwitchKind = Literal["tool", "model", "agent", "tenant", "release"]
KINDS: tuple[SwitchKind, ...] = get_args(SwitchKind)
# The tenant of a switch that holds for all of them; no tenant can have this name.
EVERYWHERE = "*"


class SwitchedOff(HandrailError):
    """An operator switched this agent, tenant or release off."""

    code = "switched_off"
    retryable = True


@dataclass(frozen=True, slots=True)
class Switch:
    """One thing that is off, or was.

    Attributes:
        tenant_id: whose turns it holds for; `EVERYWHERE` for all.
        stops_running: turns that ran when it was switched off were cancelled; otherwise they ended by themselves.
    """

    id: str
    tenant_id: str
    kind: SwitchKind
    name: str
    reason: str
    stops_running: bool
    switched_by: str
    created_at: int
    released_by: str | None = None
    release_reason: str | None = None
    released_at: int | None = None

    @property
    def is_off(self) -> bool:
        return self.released_at is None

    def holds_for(self, tenant_id: str) -> bool:
        return self.tenant_id in (tenant_id, EVERYWHERE)

    @classmethod
    def of(cls, row: Row) -> "Switch":
        return cls(
            row["id"],
            row["tenant_id"],
            row["kind"],
            row["name"],
            row["reason"],
            bool(row["stops_running"]),
            row["switched_by"],
            row["created_at"],
            row["released_by"],
            row["release_reason"],
            row["released_at"],
        )

    def body(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "object": "switch",
            "kind": self.kind,
            "name": self.name,
            "tenant": None if self.tenant_id == EVERYWHERE else self.tenant_id,
            "off": self.is_off,
            "reason": self.reason,
            "stops_running": self.stops_running,
            "switched_by": self.switched_by,
            "created_at": iso(self.created_at),
            "released_by": self.released_by,
            "release_reason": self.release_reason,
            "released_at": None if self.released_at is None else iso(self.released_at),
        }


class Switchboard:
    """What is off, as this process knows it. Open: what it has not heard of is on; what it heard stays off."""

    def __init__(self) -> None:
        self._off: dict[tuple[str, str, str], Switch] = {}

    def show(self, off: Iterable[Switch]) -> list[Switch]:
        """Take over all that is off now; returns what is new."""
        before, self._off = self._off, {(each.kind, each.tenant_id, each.name): each for each in off}
        known = {each.id for each in before.values()}
        return [each for each in self._off.values() if each.id not in known]

    def all(self) -> list[Switch]:
        """What is off, the newest first."""
        return sorted(self._off.values(), key=lambda each: each.id, reverse=True)

    def find(self, kind: SwitchKind, tenant_id: str, name: str) -> Switch | None:
        """The switch that holds this for this tenant."""
        if not self._off:
            return None
        return self._off.get((kind, tenant_id, name)) or self._off.get((kind, EVERYWHERE, name))

    def is_paused(self, tenant_id: str, agent: str) -> bool:
        """Whether turns of this agent rest for this tenant."""
        return bool(self.find("tenant", tenant_id, tenant_id) or self.find("agent", tenant_id, agent))

    def require_agent(self, tenant_id: str, agent: str) -> None:
        """Raise `SwitchedOff` if no turn of this agent may begin for this tenant."""
        if not self._off:
            return
        if (off := self.find("tenant", tenant_id, tenant_id)) is not None:
            raise SwitchedOff(f"this service is switched off by an operator ({off.reason}); try again later")
        if (off := self.find("agent", tenant_id, agent)) is not None:
            raise SwitchedOff(f"agent {agent!r} is switched off by an operator ({off.reason}); try again later")

    def require_release(self, tenant_id: str, agent: str, release_id: str) -> None:
        """`require_agent`, and raise also when this release may not run."""
        if not self._off:
            return
        self.require_agent(tenant_id, agent)
        if (off := self.find("release", tenant_id, release_id)) is not None:
            raise SwitchedOff(f"release {release_id!r} is switched off by an operator ({off.reason})")

    def require_tool(self, tenant_id: str, tool: str) -> None:
        """A tool that is off acts as an open breaker: raises `BreakerOpen`."""
        if self._off and (off := self.find("tool", tenant_id, tool)) is not None:
            raise BreakerOpen(f"tool:{tool}", off.reason, forced=True)

    def require_model(self, tenant_id: str, provider: str, model: str) -> None:
        """A model that is off, by its name or as `provider/model`, acts as an open breaker: raises `BreakerOpen`."""
        if not self._off:
            return
        off = self.find("model", tenant_id, model) or self.find("model", tenant_id, f"{provider}/{model}")
        if off is not None:
            raise BreakerOpen(f"model:{provider}|{model}", off.reason, forced=True)
