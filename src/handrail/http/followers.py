"""How many event streams and sockets one tenant holds open, so that a noisy one leaves the others their connections."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from handrail.serving.resilience import TenantOverloaded

MOST_A_TENANT = 1024


class Followers:
    """Of one process; for one event loop."""

    def __init__(self, most_a_tenant: int = MOST_A_TENANT) -> None:
        self._most = most_a_tenant
        self._open: Counter[str] = Counter()

    def require(self, tenant_id: str) -> None:
        """Raise `TenantOverloaded` when this tenant has as many as it may."""
        if self._open[tenant_id] >= self._most:
            raise TenantOverloaded(
                f"{self._most} event streams and sockets of this tenant are open, as many as it may have at once; "
                "close one, or come back with the last event's id",
                retry_after_seconds=1,
            )

    @contextmanager
    def one(self, tenant_id: str) -> Generator[None]:
        """Count one for as long as it is open."""
        self._open[tenant_id] += 1
        try:
            yield
        finally:
            self._open[tenant_id] -= 1
            if not self._open[tenant_id]:
                del self._open[tenant_id]
