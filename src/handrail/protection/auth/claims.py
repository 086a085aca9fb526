"""What a token has to say, and whom it then stands for. Pure: values in, a principal or the reason against it out."""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from handrail.core import json
from handrail.core.principal import Principal, Role

TOKEN_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
MOST_CHARACTERS = 8192
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
# Hints at the key that are harmless because nobody reads them; all others are refused, `jwk`, `jku`, `x5u`, `x5c`,
# `crit`, `b64` and `zip` among them: a token must not bring its own key, or change how it is read.
HEADERS = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})
# Whoever has one of these names by a token would be taken for the operator at the server's own machine.
RESERVED = frozenset({"local-operator", "demo-operator", "demo-customer"})
# Beyond any calendar: such a number is an attack on the arithmetic.
LAST_SECOND = 2**40


class TokenRefused(ValueError):
    """The token is not good; the message says why and repeats nothing of it that is secret."""


class ClaimNames(Protocol):
    """What is expected of tokens, and where they say whom they are for."""

    @property
    def issuer(self) -> str | None: ...
    @property
    def audience(self) -> str | None: ...
    @property
    def leeway_seconds(self) -> float: ...
    @property
    def tenant(self) -> str: ...
    @property
    def tenant_claim(self) -> str | None: ...
    @property
    def subject_claim(self) -> str: ...
    @property
    def roles_claim(self) -> str | None: ...
    @property
    def scopes_claim(self) -> str | None: ...
    @property
    def teams_claim(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """The part of the header that chooses a key among ours; nothing in it is believed."""

    alg: str
    kid: str | None


def header_of(text: str, algorithms: frozenset[str]) -> TokenHeader:
    """Read the header of a token that nobody has verified yet.

    Raises:
        TokenRefused: it has not the form of a token, or asks for what we never do.
    """
    if len(text) > MOST_CHARACTERS or not TOKEN_FORM.fullmatch(text):
        raise TokenRefused(f"it is no signed token of at most {MOST_CHARACTERS} characters")
    try:
        header = json.loads(_decoded(text.partition(".")[0]))
    except ValueError as error:
        raise TokenRefused("its header is not JSON") from error
    if not isinstance(header, dict) or not all(
        isinstance(value, str) for value in cast(dict[str, Any], header).values()
    ):
        raise TokenRefused("its header holds more than plain text")
    fields = cast(dict[str, str], header)
    if unknown := sorted(fields.keys() - HEADERS):
        raise TokenRefused(f"its header has {unknown[0][:40]!r}, which is not taken from a token")
    if fields.get("alg") not in algorithms:
        raise TokenRefused(
            f"its algorithm {fields.get('alg', '')[:40]!r} is not one of {', '.join(sorted(algorithms))}"
        )
    if fields.get("typ", "jwt").lower() not in TYPES:
        raise TokenRefused(f"its type {fields['typ'][:40]!r} is not that of an access token")
    return TokenHeader(fields["alg"], fields.get("kid"))


def check_claims(claims: Mapping[str, Any], expected: ClaimNames, now: float) -> float:
    """Check issuer, audience and times of verified claims; returns the second at which the token is over.

    Raises:
        TokenRefused: one of them is missing or wrong.
    """
    if claims.get("iss") != expected.issuer:
        raise TokenRefused(f"its issuer is not {expected.issuer!r}")
    audience = claims.get("aud")
    if expected.audience not in (cast(Sequence[Any], audience) if isinstance(audience, list) else (audience,)):
        raise TokenRefused(f"it is not for {expected.audience!r}")
    ends = second_of(claims, "exp")
    if ends is None:
        raise TokenRefused("it never expires; ask for tokens with 'exp'")
    if now >= ends + expected.leeway_seconds:
        raise TokenRefused("it has expired; get a new one")
    for name in ("nbf", "iat"):
        begins = second_of(claims, name)
        if begins is not None and now < begins - expected.leeway_seconds:
            raise TokenRefused(f"it is not valid yet ({name!r} lies ahead)")
    return ends + expected.leeway_seconds


def principal_of_claims(claims: Mapping[str, Any], names: ClaimNames) -> Principal:
    """Whom verified claims stand for: an end user, unless they name roles that we know.

    Raises:
        TokenRefused: subject or tenant is missing, malformed or reserved.
    """
    subject = name_of(claims, names.subject_claim)
    if subject in RESERVED:
        raise TokenRefused(f"its subject {subject!r} is reserved for the server's own machine")
    tenant = names.tenant if names.tenant_claim is None else name_of(claims, names.tenant_claim)
    known = {role.value for role in Role}
    roles = frozenset(Role(role) for role in texts_of(claims, names.roles_claim) if role in known)
    staff = roles - {Role.END_USER}
    scopes = frozenset(texts_of(claims, names.scopes_claim))
    if names.scopes_claim is not None and not scopes:
        # Without any a principal may do all that its role allows: here that would turn a lack into everything.
        raise TokenRefused(f"it has no scopes in {names.scopes_claim!r}")
    return Principal(
        tenant,
        subject,
        staff or frozenset({Role.END_USER}),
        scopes,
        # Says in the audit log how they came in; it also keeps them apart from every principal of our own.
        f"jwt:{names.issuer}",
        frozenset(texts_of(claims, names.teams_claim)) if staff else frozenset(),
    )


def second_of(claims: Mapping[str, Any], name: str) -> float | None:
    """A time among claims; raises `TokenRefused` for what is none."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(min(value, LAST_SECOND)):
        raise TokenRefused(f"its {name!r} is not a time")
    if not 0 <= value < LAST_SECOND:
        raise TokenRefused(f"its {name!r} is not a time")
    return float(value)


def name_of(claims: Mapping[str, Any], claim: str) -> str:
    """A name of a person or a tenant; raises `TokenRefused` for anything else."""
    value = _claim(claims, claim)
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or not value.isprintable() or value != value.strip():
        raise TokenRefused(f"its {claim!r} is not a name of 1 to 200 characters")
    return value


def texts_of(claims: Mapping[str, Any], claim: str | None) -> list[str]:
    """A list of texts, or one text of words as `scope` is."""
    value = None if claim is None else _claim(claims, claim)
    if isinstance(value, str):
        return value.split()
    return [each for each in cast(list[Any], value) if isinstance(each, str)] if isinstance(value, list) else []


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this name, else the one that its dots lead to, such as `realm_access.roles`."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = cast(dict[str, Any], value).get(part) if isinstance(value, dict) else None
    return value


def _decoded(part: str) -> bytes:
    """Base64 without its padding, as tokens have it; `binascii.Error`, a `ValueError`, for what is none."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
