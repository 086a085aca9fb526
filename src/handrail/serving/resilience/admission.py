"""Admission: how many turns run and wait, fairly between tenants, so that overload is refused and not piled up."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from handrail.core.clock import Clock
from handrail.serving.resilience.bulkhead import Overloaded
from handrail.serving.resilience.policy import retry_after_seconds
from handrail.serving.resilience.slots import FairSlots, Refusal

# The mean follows the last twenty turns or so.
WEIGHT_OF_LAST = 0.1
FIRST_GUESS_SECONDS = 1.0


class TenantOverloaded(Overloaded):
    """This tenant has as many turns running and waiting as it may; others are let in."""

    code = "tenant_overloaded"


class AdmissionClosed(Overloaded):
    """The process is about to end and admits nobody any more."""

    code = "shutting_down"


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Of one process.

    Attributes:
        running: turns at once.
        running_per_tenant: of these, one tenant's.
        waiting: turns that wait for a place, of all tenants.
        waiting_per_tenant: of these, one tenant's.
        wait_seconds: how long one waits before it is refused.
    """

    running: int = 256
    running_per_tenant: int = 128
    waiting: int = 1024
    waiting_per_tenant: int = 256
    wait_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.running < 1 or self.running_per_tenant < 1:
            raise ValueError(
                f"running and running_per_tenant must be at least 1, not {self.running!r} and "
                f"{self.running_per_tenant!r}"
            )
        if self.waiting < 0 or self.waiting_per_tenant < 0 or self.wait_seconds < 0:
            raise ValueError(
                "waiting, waiting_per_tenant and wait_seconds must not be negative, not "
                f"{self.waiting!r}, {self.waiting_per_tenant!r} and {self.wait_seconds!r}"
            )


class Place:
    """One turn's place: `async with admission.admit(tenant): ...`, or `await enter()` here and `leave()` elsewhere.

    Attributes:
        waited_seconds: how long it stood in line.
    """

    __slots__ = ("_admission", "_began", "_tenant_id", "waited_seconds")

    def __init__(self, admission: "Admission", tenant_id: str) -> None:
        self._admission = admission
        self._tenant_id = tenant_id
        self._began: float | None = None
        self.waited_seconds = 0.0

    async def enter(self) -> Self:
        """Stand in line for it, unless it is taken already. Raises `TenantOverloaded` or `Overloaded`."""
        if self._began is not None:
            return self
        admission = self._admission
        if not admission.take(self._tenant_id):
            came = admission.now()
            await admission.wait(self._tenant_id)
            self.waited_seconds = admission.now() - came
        self._began = admission.now()
        return self

    def seize(self) -> Self:
        """Take it, whoever waits: a turn that goes on was admitted once and is not refused again."""
        self._admission.seize(self._tenant_id)
        self._began = self._admission.now()
        return self

    def moved(self) -> "Place":
        """The same place for somebody else to leave; this one is empty from now on."""
        moved = Place(self._admission, self._tenant_id)
        moved._began, self._began = self._began, None
        moved.waited_seconds = self.waited_seconds
        return moved

    def leave(self) -> None:
        """Give the place to the next in turn; a second time does nothing."""
        began, self._began = self._began, None
        if began is not None:
            self._admission.left(self._tenant_id, began)

    __aenter__ = enter

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


class Admission:
    """The places of one process. For one event loop.

    `on_refused` hears the code of every refusal.

    Closed: a turn that finds neither a place nor room to wait is refused, with a `Retry-After` estimated from how
    long turns take. Free places go round the tenants that wait, one each: a tenant's queue slows that tenant only.
    """

    def __init__(
        self,
        clock: Clock,
        limits: AdmissionLimits = AdmissionLimits(),
        *,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        self._on_refused = on_refused
        self.limits = limits
        self.now = clock.monotonic
        self._mean_seconds = FIRST_GUESS_SECONDS
        self._slots = FairSlots(
            lambda tenant_id: limits.running_per_tenant,
            most_running=limits.running,
            most_waiting=limits.waiting,
            most_waiting_each=limits.waiting_per_tenant,
        )
        # Places call these directly: a method in between would cost as much as taking the place.
        self.take: Callable[[str], bool] = self._slots.take
        self.seize: Callable[[str], None] = self._slots.seize

    def admit(self, tenant_id: str) -> Place:
        """A place for one turn of this tenant, still to be entered."""
        return Place(self, tenant_id)

    async def wait(self, tenant_id: str) -> None:
        """Called by places: stand in line."""
        refusal = await self._slots.wait(tenant_id, self.limits.wait_seconds)
        if refusal is not None:
            error = self._refused(tenant_id, refusal)
            if self._on_refused is not None:
                self._on_refused(error.code)
            raise error

    def left(self, tenant_id: str, began: float) -> None:
        """Called by places: a turn that began at `began` has ended."""
        self._mean_seconds += WEIGHT_OF_LAST * (self.now() - began - self._mean_seconds)
        self._slots.give_back(tenant_id)

    def close(self) -> None:
        """The process is about to end: admit nobody any more and send away who waits. Turns that run go on."""
        self._slots.close()

    @property
    def running(self) -> int:
        return self._slots.running

    @property
    def waiting(self) -> int:
        return self._slots.waiting

    @property
    def tenants(self) -> int:
        """Tenants with turns that run or wait; nothing is kept of others."""
        return len(self._slots)

    def _refused(self, tenant_id: str, refusal: Refusal) -> Overloaded:
        slots, limits = self._slots, self.limits
        if refusal == "closed":
            return AdmissionClosed("the server is shutting down; send this again in a moment", retry_after_seconds=5.0)
        if refusal == "line_full" or slots.running_for(tenant_id) >= limits.running_per_tenant:
            running, waiting = slots.running_for(tenant_id), slots.waiting_for(tenant_id)
            wait = retry_after_seconds(waiting, limits.running_per_tenant, self._mean_seconds)
            return TenantOverloaded(
                f"{running} turns of this tenant run and {waiting} wait; try again in {wait:g} s",
                retry_after_seconds=wait,
            )
        wait = retry_after_seconds(slots.waiting, limits.running, self._mean_seconds)
        return Overloaded(
            f"the server is full: {slots.running} turns run and {slots.waiting} wait; try again in {wait:g} s",
            retry_after_seconds=wait,
        )
