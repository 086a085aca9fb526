"""Addresses of machines and ranges of them, as people and proxies write them."""

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_of(text: str) -> tuple[Network, ...]:
    """Comma-separated addresses and CIDR ranges; `ValueError` names the one that is neither."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that stands for it."""
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def address_of(text: str) -> Address | None:
    """An address with a port or without, in brackets or not, IPv4 in IPv6 unwrapped; `None` for anything else."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return unwrapped(ipaddress.ip_address(text))
    except ValueError:
        return None


def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether one of the ranges holds the address."""
    return any(address.version == network.version and address in network for network in networks)


@lru_cache(maxsize=4096)
def source_of(host: str) -> str:
    """What a client is counted by: its address, and of IPv6 the /64 that one network is given to choose from."""
    if ":" not in host:
        return host
    address = address_of(f"[{host}]")
    if address is None or address.version == 4:
        return host if address is None else str(address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
