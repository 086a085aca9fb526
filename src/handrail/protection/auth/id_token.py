"""Whom an ID token lets in to the console, and as what. Pure: nobody has a role that the deployment did not map."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from handrail.core.principal import Principal, Role
from handrail.protection.auth.claims import RESERVED, TokenRefused, name_of, second_of, texts_of
from handrail.protection.auth.policy import PermissionDenied

# A token is fetched by us right after it was made; an older one was kept for another purpose.
MOST_AGE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class OidcTerms:
    """What the deployment agreed with its provider.

    Attributes:
        address: where people reach this server, without a path.
        role_of: by value of the roles claim, what it means here.
    """

    name: str
    issuer: str
    client_id: str
    address: str
    role_of: Mapping[str, frozenset[Role]]
    scopes: str = "openid profile"
    leeway_seconds: float = 30.0
    tenant: str = "default"
    tenant_claim: str | None = None
    subject_claim: str = "sub"
    roles_claim: str | None = "roles"
    teams_claim: str | None = None
    scopes_claim: None = None

    @property
    def audience(self) -> str:
        """An ID token is for the client; an access token of the same issuer is not."""
        return self.client_id

    @property
    def redirect_address(self) -> str:
        return f"{self.address}/console/sign-in/provider/callback"


def check_id_token(claims: Mapping[str, Any], terms: OidcTerms, nonce: str, now: float) -> None:
    """What an ID token has to say beyond what every token must.

    Raises:
        TokenRefused: it was made for another visit, another client or long ago.
    """
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise TokenRefused("it was made for another attempt to sign in")
    audience = claims.get("aud")
    others = isinstance(audience, list) and len(cast(Sequence[Any], audience)) > 1
    if claims.get("azp", None if others else terms.client_id) != terms.client_id:
        raise TokenRefused("it was made for another client")
    made = second_of(claims, "iat")
    if made is None or now - made > MOST_AGE_SECONDS + terms.leeway_seconds:
        raise TokenRefused("it was not made just now")


def staff_of_claims(claims: Mapping[str, Any], terms: OidcTerms) -> Principal:
    """Whom the claims stand for.

    Raises:
        TokenRefused: subject or tenant is missing, malformed, reserved, or an address that nobody verified.
        PermissionDenied: none of their roles is mapped.
    """
    if "email" in (terms.subject_claim, terms.roles_claim) and claims.get("email_verified") is not True:
        raise TokenRefused("its 'email' is not verified by the provider")
    subject = name_of(claims, terms.subject_claim)
    if subject in RESERVED:
        raise TokenRefused(f"its subject {subject!r} is reserved for the server's own machine")
    tenant = terms.tenant if terms.tenant_claim is None else name_of(claims, terms.tenant_claim)
    roles = frozenset[Role]().union(*(terms.role_of.get(each, ()) for each in texts_of(claims, terms.roles_claim)))
    if not roles:
        raise PermissionDenied(
            f"{terms.name} knows {subject!r}, and none of what it says in {terms.roles_claim!r} is a role here; "
            "whoever runs this server maps it by HANDRAIL_OIDC__ROLES"
        )
    teams = frozenset(texts_of(claims, terms.teams_claim))
    return Principal(tenant, subject, roles, frozenset(), f"oidc:{terms.issuer}", teams)
