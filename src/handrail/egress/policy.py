"""Which address a name may lead to. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from handrail.core.addresses import Address, Network, is_within, unwrapped

# Where clouds hand out credentials; declaring a name never reaches them, only declaring the address itself.
METADATA = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128",
        "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
    )
)  # fmt: skip
# What not every Python calls private.
RESERVED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "fec0::/10",
        "64:ff9b:1::/48",
        "100::/64",
    )
)
NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class EgressRules:
    """What a deployment declares.

    Attributes:
        hosts: names that may lead to private addresses.
        suffixes: the same for all names under a domain, each with its leading dot.
        networks: addresses that may be reached whatever name leads there.
        only_declared: whether public addresses need to be declared as well.
    """

    hosts: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    only_declared: bool = False

    def declares(self, host: str) -> bool:
        """Whether the name is one of the list."""
        name = host.rstrip(".").lower()
        return name in self.hosts or name.endswith(self.suffixes)

    def objection(self, host: str, address: Address, *, declared: bool = False) -> str | None:
        """Why not to connect to this address of this host; `None` when nothing speaks against it.

        Args:
            declared: the deployment named the host elsewhere, such as in a model's `base_url`.
        """
        address = embedded(address)
        if is_within(address, self.networks):
            return None
        if is_within(address, METADATA):
            return "is link-local or a cloud's metadata service"
        if declared or self.declares(host):
            return None
        if not is_public(address):
            return "is private, loopback or reserved"
        return "is not declared" if self.only_declared else None


def rules_of(text: str, *, only_declared: bool = False) -> EgressRules:
    """Names, `*.domain`, addresses and CIDR ranges, by comma; `ValueError` names what is none of these."""
    hosts: set[str] = set()
    suffixes: list[str] = []
    networks: list[Network] = []
    for part in (each.strip().lower() for each in text.split(",")):
        if not part:
            continue
        try:
            networks.append(ip_network(part))
            continue
        except ValueError:
            if "/" in part or part.replace(".", "").isdigit():
                raise
        if part.startswith("*.") and _is_name(part[2:]):
            suffixes.append(part[1:])
        elif _is_name(part):
            hosts.add(part.rstrip("."))
        else:
            raise ValueError(f"{part!r} is no name, address or CIDR range; write names without scheme, port or path")
    return EgressRules(frozenset(hosts), tuple(suffixes), tuple(networks), only_declared)


def is_public(address: Address) -> bool:
    """Whether everybody on the internet means the same machine by it."""
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not is_within(address, RESERVED + METADATA)
    )


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, whatever of the ways it is written in."""
    address = unwrapped(address)
    if isinstance(address, IPv4Address):
        return address
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    number = int(address)
    # The old form for IPv4 (::a.b.c.d), and what translates to it; :: and ::1 are themselves.
    if address in NAT64 or (number >> 32 == 0 and number > 1):
        return IPv4Address(number & 0xFFFFFFFF)
    # A zone says by which interface, not where.
    return IPv6Address(number)


def _is_name(text: str) -> bool:
    labels = text.rstrip(".").split(".")
    return all(label and all(each.isalnum() or each in "-_" for each in label) for label in labels)
