"""A key management service in memory: its keys die with it, and it fails when a test says so."""

import asyncio
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class FakeKms:
    """What `HANDRAIL_ENCRYPTION__KMS` may name in a test.

    Attributes:
        fails: raised instead of an answer, while it is set.
        hangs: it does not answer at all.
        calls: how often it was asked.
    """

    def __init__(self) -> None:
        self._keys: dict[str, AESGCM] = {}
        self.fails: Exception | None = None
        self.hangs = False
        self.calls = 0
        self.is_closed = False
        self.rotate()

    @property
    def current(self) -> str:
        return list(self._keys)[-1]

    def rotate(self) -> str:
        """A new key wraps from now on; the older ones still unwrap. Its id."""
        key_id = f"fake-kms/{len(self._keys) + 1}"
        self._keys[key_id] = AESGCM(os.urandom(32))
        return key_id

    def destroy(self, key_id: str) -> None:
        """What it wrapped is lost."""
        del self._keys[key_id]

    async def wrap(self, key_id: str, secret: bytes, context: str) -> bytes:
        await self._answers()
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._keys[key_id].encrypt(nonce, secret, context.encode())

    async def unwrap(self, key_id: str, wrapped: bytes, context: str) -> bytes:
        await self._answers()
        return self._keys[key_id].decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context.encode())

    async def close(self) -> None:
        self.is_closed = True

    async def _answers(self) -> None:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails is not None:
            raise self.fails
