"""The one place that says where a request comes from: the connection, or what a declared proxy wrote down. Pure."""

from collections.abc import Sequence
from functools import lru_cache

from handrail.core.addresses import Network, address_of, is_within

# A longer chain is no chain of proxies.
MOST_HOPS = 32
# One machine is its owner's: load tests and a proxy on the same machine open and ask for as much as they like.
UNCOUNTED = frozenset({"127.0.0.1", "::1"})


class Proxies:
    """The proxies that are believed, and nobody else."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = tuple(networks)
        self.trusts = lru_cache(maxsize=1024)(self._trusts)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def counts(self, host: str) -> bool:
        """Whether what comes from there is counted by its address."""
        return host not in UNCOUNTED and not (self._networks and self.trusts(host))

    def client(self, peer: str, forwarded_for: Sequence[str]) -> str | None:
        """Who stands behind `peer`, a proxy that is trusted: the nearest hop that is none of ours.

        Read from the right, because each proxy adds the one it heard from and the left is whatever the client wrote.
        `None` when that is no address, or this very machine: a header makes nobody local.
        """
        hops = ",".join(forwarded_for).split(",")
        found = peer
        for hop in reversed(hops[-MOST_HOPS:]):
            address = address_of(hop)
            if address is None or address.is_loopback:
                return None
            found = str(address)
            if not self.trusts(found):
                break
        return found

    def _trusts(self, host: str) -> bool:
        address = address_of(host)
        return address is not None and is_within(address, self._networks)
