"""The keys that tokens are signed with: a shared secret, a file, or the key set at an issuer's address."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import aiohttp
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey, import_key

from handrail.core import json
from handrail.core.clock import Clock
from handrail.core.errors import HandrailError, UsageError
from handrail.egress import Egress
from handrail.egress.session import outbound_session

FETCH_SECONDS = 5.0
MOST_BYTES = 256 * 1024
LEAST_SECRET_BYTES = 32
LEAST_RSA_BITS = 2048
# Made-up key ids must not make us ask the issuer at the pace of an attacker.
ASK_AGAIN_SECONDS = 30.0
LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
SHARED = frozenset({"HS256"})
PUBLIC = frozenset({"RS256", "ES256", "EdDSA", "Ed25519"})

Read = Callable[[], Awaitable[bytes]]


class SigningKeysUnavailable(HandrailError):
    """The issuer's keys can't be read, so no token can be judged."""

    code = "signing_keys_unavailable"
    retryable = True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key and what it may verify."""

    key: Key
    algorithms: frozenset[str]
    kid: str | None


class SigningKeys(Protocol):
    """Where keys come from.

    `algorithms` is fixed by the kind of source: a shared secret and a public key never verify the same algorithm.
    `generation` changes with the keys. `trusted` is whether they are young enough to be believed.
    """

    @property
    def algorithms(self) -> frozenset[str]: ...
    @property
    def generation(self) -> int: ...
    @property
    def trusted(self) -> bool: ...
    async def for_token(self, alg: str, kid: str | None) -> SigningKey | None: ...
    async def close(self) -> None: ...


class SharedSecret:
    """HS256 by a secret that issuer and server share."""

    algorithms = SHARED
    generation = 0
    trusted = True

    def __init__(self, encoded: str) -> None:
        try:
            secret = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise UsageError("HANDRAIL_AUTH__SECRET is not base64") from error
        if len(secret) < LEAST_SECRET_BYTES:
            raise UsageError(f"HANDRAIL_AUTH__SECRET has {len(secret)} bytes; HS256 needs {LEAST_SECRET_BYTES} or more")
        self._key = SigningKey(OctKey.import_key(secret), SHARED, None)

    async def for_token(self, alg: str, kid: str | None) -> SigningKey | None:
        return self._key

    async def close(self) -> None:
        """Nothing is under way."""


class PublicKeys:
    """Public keys that are read again every `keep_seconds`, beside the requests.

    An unknown key id reads them at once, at most every half minute. While they can't be read, the last ones serve until
    they are `stale_seconds` old; after that every token is refused.
    """

    algorithms = PUBLIC

    def __init__(self, read: Read, clock: Clock, *, keep_seconds: float, stale_seconds: float) -> None:
        self._read = read
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._stale_seconds = max(stale_seconds, keep_seconds)
        self._keys: Sequence[SigningKey] = ()
        self._raw = b""
        self._read_at = float("-inf")
        self._asked_at = float("-inf")
        self._reading: asyncio.Task[bool] | None = None
        self.generation = 0

    @property
    def trusted(self) -> bool:
        """Whether the keys are young enough; reading them again begins in the background when it is time."""
        now = self._clock.monotonic()
        if now - self._read_at >= self._keep_seconds and now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._ask()
        return now - self._read_at < self._stale_seconds

    async def for_token(self, alg: str, kid: str | None) -> SigningKey | None:
        """The one key for this algorithm and id.

        Raises:
            SigningKeysUnavailable: there are no keys young enough.
        """
        if not self.trusted and not await self._refreshed():
            raise SigningKeysUnavailable(
                "the issuer's keys (HANDRAIL_AUTH__KEYS) can't be read; tokens work again when they can",
                retry_after_seconds=ASK_AGAIN_SECONDS,
            )
        found = self._find(alg, kid)
        if found is None and await self._refreshed():
            found = self._find(alg, kid)
        return found

    def _find(self, alg: str, kid: str | None) -> SigningKey | None:
        suited = [key for key in self._keys if alg in key.algorithms and (kid is None or key.kid in (kid, None))]
        # With two that fit, trying each would let a token choose.
        return suited[0] if len(suited) == 1 else None

    async def _refreshed(self) -> bool:
        """Read the keys unless that was done a moment ago; all who wait share one reading."""
        if self._reading is None and self._clock.monotonic() - self._asked_at < ASK_AGAIN_SECONDS:
            return False
        # One caller that goes away must not stop it for the others.
        return await asyncio.shield(self._reading or self._ask())

    def _ask(self) -> "asyncio.Task[bool]":
        if self._reading is None:
            self._asked_at = self._clock.monotonic()
            self._reading = asyncio.ensure_future(self._refresh())
            self._reading.add_done_callback(self._done)
        return self._reading

    def _done(self, _task: "asyncio.Task[bool]") -> None:
        self._reading = None

    async def _refresh(self) -> bool:
        asked_at = self._clock.monotonic()
        try:
            raw = await self._read()
            if raw != self._raw:
                self._keys, self._raw = public_keys(raw), raw
                self.generation += 1
        except (OSError, ValueError, aiohttp.ClientError, TimeoutError):
            return False
        self._read_at = asked_at
        return True

    async def close(self) -> None:
        """Stop a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()


def public_keys(raw: bytes) -> Sequence[SigningKey]:
    """The keys of a JWK set or a PEM file that verify one of our algorithms; others are passed over.

    Raises:
        ValueError: there is none.
    """
    entries = [_of_pem(raw)] if raw.lstrip().startswith(b"-----BEGIN") else [_of_jwk(each) for each in _entries(raw)]
    found = [entry for entry in entries if entry is not None]
    if not found:
        raise ValueError("no public key for RS256, ES256 or EdDSA")
    return found


def _entries(raw: bytes) -> list[Any]:
    body = json.loads(raw)
    keys = cast(dict[str, Any], body).get("keys") if isinstance(body, dict) else None
    if not isinstance(keys, list):
        raise ValueError("no list of keys")
    return cast(list[Any], keys)


def _of_pem(raw: bytes) -> SigningKey | None:
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            key = kind.import_key(raw)
        except (ValueError, TypeError, JoseError):
            continue
        if algorithms := _algorithms(key):
            return SigningKey(key, algorithms, None)
    return None


def _of_jwk(entry: Mapping[str, Any] | Any) -> SigningKey | None:
    # A symmetric key in a public list is known to everybody.
    if not isinstance(entry, dict) or cast(dict[str, Any], entry).get("kty") not in ("RSA", "EC", "OKP"):
        return None
    fields = cast(dict[str, Any], entry)
    operations = fields.get("key_ops", ["verify"])
    if fields.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = import_key({name: value for name, value in fields.items() if name not in ("key_ops", "alg")})
    except (ValueError, TypeError, LookupError, AttributeError, JoseError):
        return None
    algorithms = _algorithms(key)
    if "alg" in fields:
        algorithms = frozenset(each for each in algorithms if each == fields["alg"])
    kid = fields.get("kid")
    return SigningKey(key, algorithms, kid if isinstance(kid, str) else None) if algorithms else None


def _algorithms(key: Key) -> frozenset[str]:
    if isinstance(key, RSAKey):
        return frozenset({"RS256"}) if key.raw_value.key_size >= LEAST_RSA_BITS else frozenset()
    if isinstance(key, ECKey):
        return frozenset({"ES256"}) if key.curve_name == "P-256" else frozenset()
    return frozenset({"EdDSA", "Ed25519"}) if isinstance(key, OKPKey) and key.curve_name == "Ed25519" else frozenset()


def reader(place: str, egress: Egress | None = None, *, declared: frozenset[str] | None = None) -> Read:
    """How to read keys at an https address, or in a file.

    Args:
        declared: hosts that the deployment named; that of `place` when left out.

    Raises:
        UsageError: the address is not https; plain http is for an issuer on this machine.
    """
    parts = urlsplit(place)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL):
        way_out = egress or Egress()
        named = frozenset({parts.hostname or ""}) if declared is None else declared
        return lambda: _fetch(place, way_out, named)
    if "://" in place:
        raise UsageError(f"HANDRAIL_AUTH__KEYS: {place!r} is neither an https address nor a file")
    return lambda: asyncio.to_thread(Path(place).read_bytes)


async def _fetch(address: str, egress: Egress, declared: frozenset[str]) -> bytes:
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with (
        outbound_session(egress, declared=declared, timeout=timeout) as session,
        # A redirect could lead inside the network, or away from TLS.
        session.get(address, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        return await bounded(response)


async def bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body; raises `ValueError` for one that is no set of keys, whatever it is."""
    body = bytearray()
    async for piece in response.content.iter_chunked(16_384):
        body += piece
        if len(body) > MOST_BYTES:
            raise ValueError(f"over {MOST_BYTES} bytes")
    return bytes(body)
