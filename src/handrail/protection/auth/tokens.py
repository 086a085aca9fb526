"""Tokens of the deployment's identity provider: verified once, then remembered until they expire."""

from collections.abc import Mapping
from typing import NamedTuple

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from handrail.core.clock import Clock
from handrail.core.principal import Principal
from handrail.protection.auth.claims import (
    ClaimNames,
    TokenRefused,
    check_claims,
    header_of,
    principal_of_claims,
)
from handrail.protection.auth.signing_keys import SigningKey, SigningKeys

MOST_REMEMBERED = 4096


class _Verified(NamedTuple):
    principal: Principal
    until_micros: int


class TokenVerifier:
    """Turns a JSON Web Token into a principal; a token seen before costs a look-up.

    What was refused is not remembered. All is forgotten when the issuer's keys change, so that a token of a key that
    was withdrawn ends with it.
    """

    def __init__(self, keys: SigningKeys, expected: ClaimNames, clock: Clock) -> None:
        self._keys = keys
        self._expected = expected
        self._clock = clock
        self._verified: dict[bytes, _Verified] = {}
        self._generation = keys.generation

    def remembered(self, fingerprint: bytes) -> Principal | None:
        """Who sent this token before, while it and its key are good."""
        known = self._verified.get(fingerprint)
        if known is None or not self._keys.trusted or self._generation != self._keys.generation:
            return None
        return known.principal if self._clock.micros() < known.until_micros else None

    async def close(self) -> None:
        """Stop reading keys."""
        await self._keys.close()

    async def verify(self, text: str, fingerprint: bytes) -> Principal:
        """Whom the token stands for.

        Raises:
            TokenRefused: it is not good.
            SigningKeysUnavailable: nobody can tell.
        """
        claims, ends, generation = await self._checked(text)
        principal = principal_of_claims(claims, self._expected)
        self._remember(fingerprint, _Verified(principal, int(ends * 1_000_000)), generation)
        return principal

    async def claims(self, text: str) -> Mapping[str, object]:
        """What a token says whose signature, issuer, audience and times are good; nothing of it is remembered.

        Raises:
            TokenRefused: they are not.
            SigningKeysUnavailable: nobody can tell.
        """
        return (await self._checked(text))[0]

    async def _checked(self, text: str) -> tuple[dict[str, object], float, int]:
        header = header_of(text, self._keys.algorithms)
        key = await self._keys.for_token(header.alg, header.kid)
        if key is None:
            raise TokenRefused("no key of its issuer fits it")
        generation = self._keys.generation
        claims = _verified_claims(text, key, header.alg)
        return claims, check_claims(claims, self._expected, self._clock.micros() / 1_000_000), generation

    def _remember(self, fingerprint: bytes, verified: _Verified, generation: int) -> None:
        if generation != self._generation:
            self._verified.clear()
            self._generation = generation
        self._verified.pop(fingerprint, None)
        if len(self._verified) >= MOST_REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[fingerprint] = verified


def _verified_claims(text: str, key: SigningKey, alg: str) -> dict[str, object]:
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    try:
        return dict(jwt.decode(text, key.key, registry=registry).claims)
    except (JoseError, ValueError, RecursionError) as error:
        raise TokenRefused("its signature or its claims are not good") from error
