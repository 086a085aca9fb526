"""How many event streams and sockets one tenant and one principal hold open: a noisy one leaves the others theirs."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from handrail.serving.resilience import TenantOverloaded

MOST_A_TENANT = 1024
MOST_A_PRINCIPAL = 512


class Followers:
    """Of one process; for one event loop."""

    def __init__(self, most_a_tenant: int = MOST_A_TENANT, most_a_principal: int = MOST_A_PRINCIPAL) -> None:
        self._most = most_a_tenant
        self._most_a_principal = most_a_principal
        self._open: Counter[tuple[str, ...]] = Counter()

    def require(self, tenant_id: str, subject: str = "") -> None:
        """Raise `TenantOverloaded` when this tenant or this principal has as many as it may."""
        for key, most, whose in (
            ((tenant_id,), self._most, "this tenant"),
            ((tenant_id, subject), self._most_a_principal, "this principal"),
        ):
            if self._open[key] >= most:
                raise TenantOverloaded(
                    f"{most} event streams and sockets of {whose} are open, as many as it may have at once; "
                    "close one, or come back with the last event's id",
                    retry_after_seconds=1,
                )

    @contextmanager
    def one(self, tenant_id: str, subject: str = "") -> Generator[None]:
        """Count one for as long as it is open."""
        keys = ((tenant_id,), (tenant_id, subject))
        self._open.update(keys)
        try:
            yield
        finally:
            self._open.subtract(keys)
            for key in keys:
                if self._open[key] <= 0:
                    del self._open[key]

    def __len__(self) -> int:
        """Tenants and principals that have one open."""
        return len(self._open)
