"""Master keys that a key management service (KMS) keeps: the deployment hands in how to reach it."""

import asyncio
import hashlib
import hmac
import importlib
import os
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from handrail.protection.encryption.master import (
    KEY_BYTES,
    KeyUnavailable,
    LocalMasterKeys,
    MasterKeyProblem,
    Wrapped,
)
from handrail.telemetry.logging import logger

_SETTING = "HANDRAIL_ENCRYPTION__KMS"


class KmsUnavailable(KeyUnavailable):
    """The key management service gave no answer in time, or an error."""

    code = "kms_unavailable"
    retryable = True


class KeyService(Protocol):
    """What a deployment implements over its own key management service.

    `context` is a digest of the place a data key belongs to: an encryption context, associated data. A service that
    has no such thing may leave it aside, the place is checked here too.
    """

    @property
    def current(self) -> str:
        """The id of the key that wraps from now on. It may change; older ids must still unwrap."""
        ...

    async def wrap(self, key_id: str, secret: bytes, context: str) -> bytes:
        """64 bytes under this key."""
        ...

    async def unwrap(self, key_id: str, wrapped: bytes, context: str) -> bytes:
        """Those bytes again; any exception if not."""
        ...

    async def close(self) -> None:
        """The process ends."""
        ...


class ServiceKeys:
    """A service as master keys: in bounded time, with its answers checked, and every failure named."""

    def __init__(self, service: KeyService, *, seconds: float = 5.0) -> None:
        self._service = service
        self._seconds = seconds

    @property
    def current(self) -> str:
        return self._service.current

    async def wrap(self, secret: bytes, place: str) -> Wrapped:
        service, key_id, bound = self._service, self.current, _digest(place)
        wrapped = await self._answer(
            f"wrap a data key under {key_id!r}", lambda: service.wrap(key_id, secret + bound, bound.hex())
        )
        if secret in wrapped:
            raise MasterKeyProblem(f"the service of {_SETTING} gave a data key back as it was; it must encrypt it")
        return Wrapped(key_id, wrapped)

    async def unwrap(self, master_id: str, wrapped: bytes, place: str) -> bytes:
        service, bound = self._service, _digest(place)
        plain = await self._answer(
            f"unwrap a data key with {master_id!r}", lambda: service.unwrap(master_id, wrapped, bound.hex())
        )
        if len(plain) != KEY_BYTES + len(bound) or not hmac.compare_digest(plain[KEY_BYTES:], bound):
            raise KeyUnavailable(
                f"a data key that master key {master_id!r} unwrapped belongs to another place; restore the key store"
            )
        return plain[:KEY_BYTES]

    async def probe(self) -> None:
        """One round trip.

        Raises:
            KeyUnavailable: it does not give back what it was given.
        """
        secret = os.urandom(KEY_BYTES)
        wrapped = await self.wrap(secret, "probe")
        if await self.unwrap(wrapped.master_id, wrapped.data, "probe") != secret:
            raise KeyUnavailable(f"the service of {_SETTING} gave back another key than it was given")

    async def close(self) -> None:
        await self._service.close()

    async def _answer(self, what: str, ask: Callable[[], Awaitable[object]]) -> bytes:
        try:
            async with asyncio.timeout(self._seconds):
                found = await ask()
        except Exception as error:
            # Whatever a deployment's own code raises; its text may hold more than a caller should read.
            logger().warning("the key management service failed", asked=what, error=repr(error)[:300])
            raise KmsUnavailable(
                f"the key management service did not {what} ({type(error).__name__}); nothing is written or shown "
                "without it: see the log, then try again",
                retry_after_seconds=5,
            ) from error
        if not isinstance(found, bytes):
            raise MasterKeyProblem(f"the service of {_SETTING} gave {type(found).__name__} instead of bytes")
        return found


class LocalAndService:
    """Keys at hand and a service together, while data keys move from one to the other: one wraps, both unwrap."""

    def __init__(self, local: LocalMasterKeys, service: ServiceKeys, *, service_wraps: bool) -> None:
        self._local = local
        self._service = service
        self._wraps = service if service_wraps else local

    @property
    def current(self) -> str:
        return self._wraps.current

    async def wrap(self, secret: bytes, place: str) -> Wrapped:
        return await self._wraps.wrap(secret, place)

    async def unwrap(self, master_id: str, wrapped: bytes, place: str) -> bytes:
        keeper = self._local if self._local.holds(master_id) else self._service
        return await keeper.unwrap(master_id, wrapped, place)

    async def close(self) -> None:
        await self._service.close()


def service_named(name: str) -> KeyService:
    """What the factory `package.module:name` makes.

    Raises:
        MasterKeyProblem: there is no such factory, it fails, or what it makes lacks something.
    """
    module, _, attribute = name.partition(":")
    try:
        made: Any = getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise MasterKeyProblem(f"{_SETTING}={name}: the factory failed: {error!r}") from error
    lacking = [each for each in ("current", "wrap", "unwrap", "close") if not hasattr(made, each)]
    if lacking:
        raise MasterKeyProblem(f"{_SETTING}={name}: what it made has no {', '.join(lacking)}; see KeyService")
    return cast(KeyService, made)


def _digest(place: str) -> bytes:
    return hashlib.sha256(place.encode()).digest()
