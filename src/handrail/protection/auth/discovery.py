"""What an OpenID provider says of itself, read with suspicion. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
MOST_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Discovery:
    """The addresses of a provider, and how it wants to be spoken to.

    Attributes:
        says_issuer: whether its answers name it (RFC 9207).
        takes_basic: whether a client's secret goes into a header, and not into the form.
    """

    authorization: str
    token: str
    keys: str
    says_issuer: bool
    takes_basic: bool


def read_discovery(document: Any, issuer: str) -> Discovery:
    """What the document says.

    Raises:
        ValueError: it is another issuer's, or leads to where nothing secret may be sent.
    """
    said = cast(Mapping[str, Any], document) if isinstance(document, dict) else {}
    if said.get("issuer") != issuer:
        raise ValueError("its document names another issuer")
    methods = said.get("token_endpoint_auth_methods_supported")
    named = cast(list[Any], methods) if isinstance(methods, list) else ["client_secret_basic"]
    return Discovery(
        _safe(said.get("authorization_endpoint"), issuer),
        _safe(said.get("token_endpoint"), issuer),
        _safe(said.get("jwks_uri"), issuer),
        said.get("authorization_response_iss_parameter_supported") is True,
        "client_secret_basic" in named or "client_secret_post" not in named,
    )


def _safe(address: Any, issuer: str) -> str:
    """An address that speaks TLS; plain HTTP only where the issuer itself is on this machine."""
    if isinstance(address, str) and len(address) <= MOST_CHARACTERS and address.isascii() and address.isprintable():
        parts, here = urlsplit(address), urlsplit(issuer)
        is_local = parts.scheme == "http" == here.scheme and parts.hostname in LOCAL
        if parts.hostname and not parts.fragment and " " not in address and (parts.scheme == "https" or is_local):
            return address
    raise ValueError("an address in its document is not https")
