"""A small OpenID provider on 127.0.0.1 that keeps the rules, and breaks each of them when told to."""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT, SECRET = "handrail", "s3cret & more"
Claims = dict[str, Any]


@dataclass
class IdentityProvider:
    """Signs in `claims`; what it was asked stands in `exchanges`.

    Attributes:
        alter: changes the claims of a token before it is signed.
        headers: of the token, instead of the usual ones.
        signs_with: another key than the published one.
        document: what its discovery document says instead.
        once: whether a code is good once, as it has to be.
    """

    claims: Claims = field(default_factory=lambda: {"sub": "olga", "groups": ["Ops"]})
    alter: Callable[[Claims], None] = lambda claims: None
    headers: Claims = field(default_factory=dict[str, Any])
    signs_with: ECKey | None = None
    document: Claims = field(default_factory=dict[str, Any])
    once: bool = True
    is_down: bool = False
    exchanges: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    readings: int = 0
    issuer: str = ""
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"}))
    _codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def sign_in(self, address: str) -> str:
        """What a person's browser does there: the address that it is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.issuer})}"

    async def discovery(self, _request: web.Request) -> web.Response:
        self.readings += 1
        # Long enough that others come meanwhile.
        await asyncio.sleep(0.02)
        if self.is_down:
            return web.Response(status=503)
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "authorization_response_iss_parameter_supported": True,
        }
        return web.json_response(said | self.document)

    async def keys(self, _request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.exchanges.append(form)
        asked = self._codes.pop(form["code"], None) if self.once else self._codes.get(form["code"])
        pair = base64.b64encode(urlencode({CLIENT: SECRET}).replace("=", ":", 1).encode()).decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if (
            asked is None
            or request.headers.get("authorization") != f"Basic {pair}"
            or form["redirect_uri"] != asked["redirect_uri"]
            or (asked["code_challenge_method"], asked["code_challenge"]) != ("S256", challenge.decode())
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": "x", "token_type": "Bearer", "id_token": self.id_token(asked)})

    def id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims |= self.claims
        self.alter(claims)
        headers = {"alg": "ES256", "kid": "k1", "typ": "JWT"} | self.headers
        return jwt.encode(headers, claims, self.signs_with or self.key)


@asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    """One that runs."""
    provider = IdentityProvider()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", provider.discovery)
    app.router.add_get("/keys", provider.keys)
    app.router.add_post("/token", provider.token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield provider
    finally:
        await runner.cleanup()
