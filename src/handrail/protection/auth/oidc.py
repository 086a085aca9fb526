"""The deployment's identity provider: OpenID Connect by authorization code with PKCE, state and nonce."""

import asyncio
import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp

from handrail.core import json
from handrail.core.clock import Clock
from handrail.core.errors import HandrailError
from handrail.core.principal import Principal
from handrail.egress import Egress
from handrail.egress.session import outbound_session
from handrail.protection.auth.authenticator import Unauthenticated
from handrail.protection.auth.claims import TokenRefused
from handrail.protection.auth.discovery import Discovery, read_discovery
from handrail.protection.auth.id_token import OidcTerms, check_id_token, staff_of_claims
from handrail.protection.auth.signing_keys import FETCH_SECONDS, PublicKeys, SigningKeysUnavailable, bounded, reader
from handrail.protection.auth.tokens import TokenVerifier
from handrail.protection.auth.visits import Visit

KEEP_SECONDS = 3600.0
MOST_CODE_CHARACTERS = 4096
ERROR = re.compile(r"[a-z_]{1,60}")
FAILURES = (OSError, ValueError, TimeoutError, aiohttp.ClientError)


class ProviderUnavailable(HandrailError):
    """The provider does not answer as it should, so nobody can sign in by it."""

    code = "provider_unavailable"
    retryable = True


@dataclass(frozen=True, slots=True)
class _Endpoints:
    """What the provider says of itself, and what reads its tokens."""

    said: Discovery
    verifier: TokenVerifier
    keys: PublicKeys
    read_at: float


class OidcProvider:
    """One provider, asked when somebody signs in and at no other time.

    Closed: while it does not answer, nobody signs in by it; sessions that exist and API keys go on.
    """

    def __init__(self, terms: OidcTerms, secret: str | None, clock: Clock, egress: Egress) -> None:
        self._terms = terms
        self._secret = secret
        self._clock = clock
        self._egress = egress
        # The issuer was named by the deployment; where its document leads to was not.
        self._declared = frozenset({urlsplit(terms.issuer).hostname or ""})
        self._endpoints: _Endpoints | None = None
        self._reading: asyncio.Task[_Endpoints | ProviderUnavailable] | None = None

    @property
    def name(self) -> str:
        return self._terms.name

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._endpoints is not None:
            await self._endpoints.keys.close()

    async def address(self, visit: Visit) -> str:
        """Where the browser signs in.

        Raises:
            ProviderUnavailable: the provider does not say where that is.
        """
        endpoints = await self._found()
        asked = {
            "response_type": "code",
            "client_id": self._terms.client_id,
            "redirect_uri": self._terms.redirect_address,
            "scope": self._terms.scopes,
            "state": visit.state,
            "nonce": visit.nonce,
            "code_challenge": visit.challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(endpoints.said.authorization).query else "?"
        return f"{endpoints.said.authorization}{joint}{urlencode(asked)}"

    async def principal(self, visit: Visit, answer: Mapping[str, str]) -> Principal:
        """Who came back, by the answer in the address that the provider sent the browser to.

        Raises:
            Unauthenticated: the answer belongs to another visit or another provider, or its token is not good.
            PermissionDenied: they are known there and have no role here.
            ProviderUnavailable: the provider can't be asked.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), visit.state.encode()):
            raise Unauthenticated("this answer belongs to no attempt to sign in that this browser began; begin again")
        endpoints = await self._found()
        # RFC 9207: an answer of another provider that found its way here is told by its issuer.
        if answer.get("iss", None if endpoints.said.says_issuer else self._terms.issuer) != self._terms.issuer:
            raise Unauthenticated(f"this answer does not come from {self.name}; begin again")
        if "error" in answer:
            said = answer["error"] if ERROR.fullmatch(answer["error"]) else "an error without a name"
            raise Unauthenticated(f"{self.name} did not sign you in: {said}")
        code = answer.get("code", "")
        if not 1 <= len(code) <= MOST_CODE_CHARACTERS:
            raise Unauthenticated(f"{self.name} sent no code; begin again")
        text = await self._exchanged(endpoints, visit, code)
        try:
            claims = await endpoints.verifier.claims(text)
            check_id_token(claims, self._terms, visit.nonce, self._clock.micros() / 1_000_000)
            return staff_of_claims(claims, self._terms)
        except TokenRefused as refused:
            raise Unauthenticated(f"the token of {self.name} is refused: {refused}") from refused
        except SigningKeysUnavailable as error:
            raise self._unavailable("its keys can't be read") from error

    async def _found(self) -> _Endpoints:
        """What the provider says of itself, read once an hour; all who wait share one reading."""
        known = self._endpoints
        if known is not None and self._clock.monotonic() - known.read_at < KEEP_SECONDS:
            return known
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read(known))
            self._reading.add_done_callback(self._done)
        # One who goes away must not stop it for the others.
        found = await asyncio.shield(self._reading)
        if isinstance(found, ProviderUnavailable):
            raise found
        return found

    def _done(self, _task: "asyncio.Task[_Endpoints | ProviderUnavailable]") -> None:
        self._reading = None

    async def _read(self, known: _Endpoints | None) -> _Endpoints | ProviderUnavailable:
        """Anew; what it said before serves while it says nothing."""
        now = self._clock.monotonic()
        place = f"{self._terms.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            status, body = await self._asked("GET", place)
            if status != 200:
                raise ValueError(f"status {status}")
            found = self._endpoints_of(json.loads(body), now)
        except FAILURES as error:
            if known is not None:
                return known
            return self._unavailable(f"it does not say where to sign in ({error or type(error).__name__})")
        if known is not None:
            await known.keys.close()
        self._endpoints = found
        return found

    def _endpoints_of(self, document: Any, now: float) -> _Endpoints:
        said = read_discovery(document, self._terms.issuer)
        read = reader(said.keys, self._egress, declared=self._declared)
        keys = PublicKeys(read, self._clock, keep_seconds=300.0, stale_seconds=3600.0)
        return _Endpoints(said, TokenVerifier(keys, self._terms, self._clock), keys, now)

    async def _exchanged(self, endpoints: _Endpoints, visit: Visit, code: str) -> str:
        """The ID token for a code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._terms.redirect_address,
            "code_verifier": visit.verifier,
            "client_id": self._terms.client_id,
        }
        headers: dict[str, str] = {"accept": "application/json"}
        if self._secret is not None and endpoints.said.takes_basic:
            pair = f"{quote_plus(self._terms.client_id)}:{quote_plus(self._secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif self._secret is not None:
            form["client_secret"] = self._secret
        try:
            status, body = await self._asked("POST", endpoints.said.token, data=form, headers=headers)
            if 400 <= status < 500 and status != 429:
                raise Unauthenticated(f"{self.name} does not take the code back; begin again")
            token = json.loads(body).get("id_token") if status == 200 else None
            if not isinstance(token, str):
                raise ValueError(f"status {status} without an ID token")
        except (*FAILURES, AttributeError) as error:
            raise self._unavailable("it gives no token") from error
        return token

    async def _asked(self, method: str, address: str, **more: Any) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        async with (
            outbound_session(self._egress, declared=self._declared, timeout=timeout) as session,
            session.request(method, address, allow_redirects=False, **more) as response,
        ):
            return response.status, await bounded(response)

    def _unavailable(self, why: str) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"{self.name} can't be asked: {why}; sign in with an API key, or try again in a moment",
            retry_after_seconds=10,
        )
