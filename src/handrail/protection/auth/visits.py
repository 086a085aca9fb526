"""A browser's way to the identity provider and back: what it keeps meanwhile, and that it comes back once."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import bindparam, delete, insert

from handrail.core.principal import Principal
from handrail.db import Batch, Prepared
from handrail.protection.auth.tables import provider_visit

LASTS_SECONDS = 600
MICROS = 1_000_000
_COOKIE = re.compile(r"(?P<secret>[A-Za-z0-9_-]{43})\.(?P<at>[0-9]{1,12})\.(?P<onward>~[A-Za-z0-9_~-]{0,200})")
_ADD = Prepared(insert(provider_visit))
_REMOVE_OLD = Prepared(delete(provider_visit).where(provider_visit.c.expires_at <= bindparam("at")))


@dataclass(frozen=True, slots=True)
class Visit:
    """One attempt to sign in at the provider.

    The browser keeps `cookie`, and everything that is sent to the provider is derived from the secret in it, so that
    nothing is stored for those who never come back, and an answer is of use in this browser only.
    """

    secret: str
    at: int
    onward: str

    @classmethod
    def begin(cls, at: int, onward: str) -> "Visit":
        """`at` is in seconds; `onward` is where it leads in the end."""
        return cls(secrets.token_urlsafe(32), at, onward)

    @classmethod
    def of(cls, cookie: str, now: int) -> "Visit | None":
        """The visit that a browser began at most ten minutes ago."""
        found = _COOKIE.fullmatch(cookie)
        if found is None or not 0 <= now - int(found["at"]) <= LASTS_SECONDS:
            return None
        return cls(found["secret"], int(found["at"]), found["onward"].replace("~", "/"))

    def __repr__(self) -> str:
        return f"Visit(at={self.at!r})"

    @property
    def cookie(self) -> str:
        # A slash would need quotes in a cookie.
        return f"{self.secret}.{self.at}.{self.onward.replace('/', '~')}"

    @property
    def state(self) -> str:
        """Comes back with the answer: it was asked for by this browser."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """Stands in the token: it was made for this visit."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """Is told with the code: whoever reads the code alone can do nothing with it (RFC 7636)."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        return _text(hashlib.sha256(self.verifier.encode()).digest())

    def _derived(self, purpose: str) -> str:
        said = f"handrail {purpose} {self.at} {self.onward}"
        return _text(hmac.digest(self.secret.encode(), said.encode(), hashlib.sha256))


class IdentityProvider(Protocol):
    """Where people of the deployment sign in."""

    @property
    def name(self) -> str: ...
    async def address(self, visit: Visit) -> str:
        """Where to send the browser; raises `ProviderUnavailable`."""
        ...

    async def principal(self, visit: Visit, answer: Mapping[str, str]) -> Principal:
        """Who came back; raises `Unauthenticated`, `PermissionDenied`, `ProviderUnavailable`."""
        ...

    async def close(self) -> None: ...


def use_visit(batch: Batch, visit: Visit, principal: Principal, *, at: int) -> None:
    """Use it up; the second of two who come back with the same answer gets a `Conflict`. Old ones are removed."""
    batch.add(_REMOVE_OLD, {"at": at})
    # Beyond this time its cookie is not taken any more.
    expires_at = (visit.at + 2 * LASTS_SECONDS) * MICROS
    used = hashlib.sha256(visit.state.encode()).hexdigest()
    batch.add(_ADD, {"hash": used, "tenant_id": principal.tenant_id, "expires_at": expires_at})


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
