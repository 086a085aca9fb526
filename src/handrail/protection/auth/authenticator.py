"""From the Authorization header to a principal."""

import hashlib
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from handrail.core.clock import Clock, iso
from handrail.core.errors import UsageError
from handrail.core.principal import Principal, Role
from handrail.db import Conflict, StoreUnavailable
from handrail.protection.auth.claims import TokenRefused
from handrail.protection.auth.keys import KEY, KeyStore
from handrail.protection.auth.operator import TOKEN

if TYPE_CHECKING:
    from handrail.protection.auth.tokens import TokenVerifier

Surface = Literal["api", "console"]

DEMO_CUSTOMER = Principal("default", "demo-customer")
DEMO_OPERATOR = Principal("default", "demo-operator", frozenset({Role.APPROVER, Role.OPERATOR}))
LOCAL_OPERATOR = Principal("default", "local-operator", frozenset({Role.OPERATOR, Role.APPROVER, Role.ADMIN}))

# What every key and token of ours begins with; anything else was meant for another service.
OURS = ("hr_", "hrop_")
TTL_SECONDS = 5.0
MOST_CACHED = 4096
# When a key was last used is for people who tidy up: a minute is exact enough, and no request waits for a write.
TOUCH_MICROS = 60 * 1_000_000
MOST_USED = 65_536
MOST_WORKED = 16_384


class Unauthenticated(UsageError):
    """Nobody we know: no key, or one that does not work."""

    code = "unauthenticated"


class Attempts(Protocol):
    """How often one source may send what does not work."""

    async def require(self, source: str) -> None:
        """Raises an error of its own when there were too many."""
        ...

    def failed(self, source: str) -> None:
        """Count one."""
        ...


class _Recognised(NamedTuple):
    principal: Principal
    until: float


class Authenticator:
    """Recognises callers; safe to share between all requests of a process.

    A recognised key is remembered for `TTL_SECONDS`, so a revocation made elsewhere takes effect within that time.
    What was refused is not remembered: made-up keys can fill nothing, and cost one indexed read.
    """

    def __init__(
        self,
        keys: KeyStore,
        clock: Clock,
        operator_token: str | None = None,
        tokens: "TokenVerifier | None" = None,
        attempts: Attempts | None = None,
        *,
        closed: bool = False,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._operator_token = operator_token
        self._tokens = tokens
        self._attempts = attempts
        # People have another way in, so nobody is let in for want of keys.
        self._closed = closed or tokens is not None
        # What worked before is looked at again whatever else comes from its address: many may share one.
        self._worked: dict[bytes, None] = {}
        self._recognised: dict[bytes, _Recognised] = {}
        self._used: dict[tuple[str, str], int] = {}
        self._keys_exist: bool | None = None
        self._asked_at = 0.0

    @property
    def has_keys(self) -> bool:
        """Whether keys or tokens are configured, as of the last look; not having looked yet counts as yes."""
        return self._closed or self._keys_exist is not False

    def describe(self) -> str:
        """What callers are recognised by, for people."""
        if self._tokens is None:
            return "api keys" if self._closed or self.has_keys else "none: loopback only"
        return "api keys and tokens" if self._keys_exist is not False else "tokens"

    async def close(self) -> None:
        """Let go of what is under way; a last use that can't be stored any more is lost."""
        with suppress(StoreUnavailable, Conflict):
            await self.store_used()
        if self._tokens is not None:
            await self._tokens.close()

    async def start(self) -> None:
        """Look whether keys are configured."""
        await self._look()

    def forget(self) -> None:
        """Trust nothing remembered: a key was made or revoked in this process."""
        self._recognised.clear()
        if not self._keys_exist:
            self._keys_exist = None

    async def authenticate(
        self, authorization: str | None, *, loopback: bool, surface: Surface = "api", source: str | None = None
    ) -> Principal:
        """Who calls, by the Authorization header alone.

        Without any keys configured, callers on this machine are the demo's customer (`api`) or operator (`console`);
        a bearer that is no key of ours, such as the placeholder that other clients insist on, does not change that.

        Args:
            source: what attempts that fail are counted by; not counted without.

        Raises:
            Unauthenticated: the key is missing, unknown, revoked or expired; the token is not good.
            SigningKeysUnavailable: a token can't be judged.
        """
        text = _bearer(authorization)
        if text is None:
            return await self._without_key(False, loopback, surface)
        # Remembered by hash, so that no key's text lies in memory longer than its request.
        fingerprint = hashlib.sha256(text.encode()).digest()
        known = self._known(text, fingerprint)
        if known is not None:
            return known
        if source is None or self._attempts is None:
            return await self._judged(text, fingerprint, loopback, surface)
        if fingerprint not in self._worked:
            await self._attempts.require(source)
        try:
            principal = await self._judged(text, fingerprint, loopback, surface)
        except Unauthenticated:
            self._worked.pop(fingerprint, None)
            self._attempts.failed(source)
            raise
        self._note_worked(fingerprint)
        return principal

    def _known(self, text: str, fingerprint: bytes) -> Principal | None:
        if text.startswith(OURS):
            known = self._recognised.get(fingerprint)
            return known.principal if known is not None and known.until > self._clock.monotonic() else None
        return self._tokens.remembered(fingerprint) if self._tokens is not None else None

    async def _judged(self, text: str, fingerprint: bytes, loopback: bool, surface: Surface) -> Principal:
        if text.startswith(OURS):
            if TOKEN.fullmatch(text):
                return self._operator(text, loopback)
            return await self._look_up(text, fingerprint)
        if self._tokens is not None and text.count(".") == 2:
            return await _by_token(self._tokens, text, fingerprint)
        return await self._without_key(True, loopback, surface)

    def _note_worked(self, fingerprint: bytes) -> None:
        self._worked.pop(fingerprint, None)
        if len(self._worked) >= MOST_WORKED:
            del self._worked[next(iter(self._worked))]
        self._worked[fingerprint] = None

    def _operator(self, text: str, loopback: bool) -> Principal:
        expected = self._operator_token
        if loopback and expected is not None and hmac.compare_digest(text, expected):
            return LOCAL_OPERATOR
        raise Unauthenticated("this operator token is not of this server, or was sent from another machine")

    async def _look_up(self, text: str, fingerprint: bytes) -> Principal:
        shape = KEY.fullmatch(text)
        found = await self._keys.find(shape[1]) if shape else None
        if found is None or not found.key.matches(text):
            raise Unauthenticated("this API key is not known; make one with `handrail keys create`")
        key, now = found.key, found.now
        if key.revoked_at is not None:
            raise Unauthenticated(f"API key {key.prefix!r} was revoked on {iso(key.revoked_at)}; use another")
        if key.expires_at is not None and key.expires_at <= now:
            raise Unauthenticated(f"API key {key.prefix!r} expired on {iso(key.expires_at)}; make a new one")
        lasts = TTL_SECONDS if key.expires_at is None else min(TTL_SECONDS, (key.expires_at - now) / 1_000_000)
        self._remember(fingerprint, _Recognised(key.principal, self._clock.monotonic() + lasts))
        if (key.last_used_at is None or now - key.last_used_at > TOUCH_MICROS) and len(self._used) < MOST_USED:
            self._used[key.tenant_id, key.id] = now
        return key.principal

    async def store_used(self) -> None:
        """Store when keys were last used, all at once; what can't be stored now is tried the next time."""
        if not self._used:
            return
        used, self._used = self._used, {}
        try:
            await self._keys.touch(used)
        except (StoreUnavailable, Conflict):
            self._used = used | self._used
            raise

    def _remember(self, fingerprint: bytes, recognised: _Recognised) -> None:
        self._recognised.pop(fingerprint, None)
        if len(self._recognised) >= MOST_CACHED:
            del self._recognised[next(iter(self._recognised))]
        self._recognised[fingerprint] = recognised

    async def _without_key(self, sent: bool, loopback: bool, surface: Surface) -> Principal:
        if await self._keys_are_configured():
            if sent:
                raise Unauthenticated("the bearer is not an API key of this server; keys begin with 'hr_'")
            raise Unauthenticated("send an API key as `Authorization: Bearer hr_...`")
        if not loopback:
            raise Unauthenticated("without API keys only this machine is served; make one with `handrail keys create`")
        return DEMO_CUSTOMER if surface == "api" else DEMO_OPERATOR

    async def _keys_are_configured(self) -> bool:
        # Keys are never deleted: a yes holds for ever.
        if self._keys_exist or self._closed:
            return True
        if self._keys_exist is None or self._clock.monotonic() - self._asked_at >= TTL_SECONDS:
            await self._look()
        return self.has_keys

    async def _look(self) -> None:
        self._keys_exist = await self._keys.exist()
        self._asked_at = self._clock.monotonic()


async def _by_token(tokens: "TokenVerifier", text: str, fingerprint: bytes) -> Principal:
    try:
        return await tokens.verify(text, fingerprint)
    except TokenRefused as refused:
        raise Unauthenticated(f"the token is refused: {refused}") from refused


def _bearer(authorization: str | None) -> str | None:
    """The credentials of a Bearer header; another scheme counts as none."""
    if authorization is None:
        return None
    scheme, _, credentials = authorization.partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None
