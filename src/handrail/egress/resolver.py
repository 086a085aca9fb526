"""Names to addresses that may be connected to."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from handrail.egress.policy import EgressRules

Endpoint = tuple[str, int]
Resolve = Callable[[str, int], Awaitable[Sequence[Endpoint]]]


class EgressRefused(ConnectionError):
    """No address of the host may be connected to."""

    def __init__(self, host: str, objections: Sequence[tuple[str, str]]) -> None:
        found = "; ".join(f"{address} {reason}" for address, reason in objections)
        super().__init__(
            errno.EACCES,
            f"no connection to {host!r}: {found}; if it is meant, name the host or address in HANDRAIL_EGRESS__ALLOW",
        )
        self.host = host

    def __str__(self) -> str:
        return str(self.strerror)


class Egress:
    """The way out; `resolve` is the system's, but for tests."""

    def __init__(self, rules: EgressRules | None = None, resolve: Resolve | None = None) -> None:
        self._rules = rules or EgressRules()
        self._resolve = resolve or system_addresses

    async def addresses(self, host: str, port: int, *, declared: bool = False) -> list[Endpoint]:
        """The addresses to connect to, in the order of the resolver. Connect to these and never to the name.

        Raises:
            EgressRefused: it has addresses, and none may be connected to.
            OSError: the name has none.
        """
        found = list(dict.fromkeys(await self._resolve(host, port)))
        judged = [(endpoint, self._objection(host, endpoint[0], declared)) for endpoint in found]
        allowed = [endpoint for endpoint, objection in judged if objection is None]
        if judged and not allowed:
            raise EgressRefused(host, [(endpoint[0], objection or "") for endpoint, objection in judged])
        return allowed

    def _objection(self, host: str, address: str, declared: bool) -> str | None:
        try:
            judged = ip_address(address)
        except ValueError:
            return "is no address"
        return self._rules.objection(host, judged, declared=declared)


async def system_addresses(host: str, port: int) -> Sequence[Endpoint]:
    """What the system resolves the host to; it reads `2130706433` and `0x7f.1` as addresses too."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(each[4][0]), int(each[4][1])) for each in found]
