"""A client session whose every connection, those of redirects included, passes the list."""

import socket
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from handrail.egress.resolver import Egress


def outbound_session(
    egress: Egress, *, declared: frozenset[str] = frozenset(), **options: Any
) -> aiohttp.ClientSession:
    """Like `aiohttp.ClientSession`; it heeds no proxy of the environment, which would connect in its place.

    Args:
        declared: hosts that the deployment named, such as the issuer's.
    """
    return aiohttp.ClientSession(connector=_Connector(egress, declared), trust_env=False, **options)


class _Connector(aiohttp.TCPConnector):
    def __init__(self, egress: Egress, declared: frozenset[str]) -> None:
        resolver = _Resolver(egress, declared)
        super().__init__(resolver=resolver, use_dns_cache=False, force_close=True)
        self._judge = resolver

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - as aiohttp has it
        # A host that is an address goes past the resolver.
        host, port = req.url.host or "", req.url.port or 0
        if _is_address(host):
            await self._judge.resolve(host, port)
        return await super().connect(req, traces, timeout)


class _Resolver(AbstractResolver):
    def __init__(self, egress: Egress, declared: frozenset[str]) -> None:
        self._egress = egress
        self._declared = declared

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._egress.addresses(host, port, declared=host in self._declared)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address, port in found
        ]

    async def close(self) -> None:
        """Nothing is kept."""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
