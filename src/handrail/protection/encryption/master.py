"""Master keys: they wrap the data keys and are never in the database or in its backups."""

import base64
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from handrail.core.errors import HandrailError, UsageError

KEY_BYTES = 32
NONCE_BYTES = 12
_HOW = 'make one with `python -c "import base64,os;print(base64.b64encode(os.urandom(32)).decode())"`'


class MasterKeyProblem(UsageError):
    """The master key is malformed, others can read its file, or what is stored needs one that is not there."""

    code = "master_key_problem"


class KeyUnavailable(HandrailError):
    """A data key can't be unwrapped: its master key is not among those that are set."""

    code = "key_unavailable"


class Wrapped(NamedTuple):
    """A data key under a master key, and under which."""

    master_id: str
    data: bytes


class MasterKeys(Protocol):
    """Who wraps data keys: keys in this process, or a service that keeps them (a KMS)."""

    @property
    def current(self) -> str:
        """The id of the master key that wraps from now on."""
        ...

    async def wrap(self, secret: bytes, place: str) -> Wrapped:
        """Under the current one, bound to its place."""
        ...

    async def unwrap(self, master_id: str, wrapped: bytes, place: str) -> bytes:
        """Raises `KeyUnavailable` without that master key, or when what is stored was changed."""
        ...

    async def close(self) -> None:
        """The process ends."""
        ...


class LocalMasterKeys:
    """Keys of the environment or a file: the first wraps, the others still unwrap what they wrapped before."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._ciphers = {_id_of(each): AESGCM(each) for each in secrets}
        self._current = _id_of(secrets[0])

    @property
    def current(self) -> str:
        return self._current

    def holds(self, master_id: str) -> bool:
        return master_id in self._ciphers

    async def wrap(self, secret: bytes, place: str) -> Wrapped:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, secret, place.encode())
        return Wrapped(self._current, nonce + sealed)

    async def unwrap(self, master_id: str, wrapped: bytes, place: str) -> bytes:
        cipher = self._ciphers.get(master_id)
        if cipher is None:
            raise KeyUnavailable(
                f"a data key is wrapped under master key {master_id!r}, which is not set; add that key after the "
                "current one, or run `handrail privacy rotate` before one is taken away"
            )
        try:
            return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], place.encode())
        except (ValueError, InvalidTag) as error:
            raise KeyUnavailable(f"a wrapped data key was changed; restore the key store ({place!r})") from error

    async def close(self) -> None:
        """Nothing to let go of."""


def master_keys(given: str | None, file: Path | None) -> LocalMasterKeys | None:
    """From the settings: keys with commas between them, or a file with one a line; `None` when neither is set.

    Raises:
        MasterKeyProblem: a key is not 32 bytes of base64, or others can read the file.
    """
    if given is None and file is None:
        return None
    where = "HANDRAIL_ENCRYPTION__MASTER_KEY" if file is None else str(file)
    text = given if file is None else _read(file)
    found = [_decoded(part.strip(), where) for part in (text or "").replace(",", "\n").splitlines() if part.strip()]
    if not found:
        raise MasterKeyProblem(f"{where} holds no key; {_HOW}")
    return LocalMasterKeys(found)


def _read(file: Path) -> str:
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise MasterKeyProblem(f"others can read {str(file)!r}, the master key; make it 600 and change the key")
        return file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise MasterKeyProblem(f"the master key {str(file)!r} can't be read: {error}") from error


def _decoded(text: str, where: str) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise MasterKeyProblem(f"{where} does not hold {KEY_BYTES} bytes as base64; {_HOW}")
    return secret


def _id_of(secret: bytes) -> str:
    """Says which key it is and nothing about it."""
    return f"mk_{hashlib.sha256(b'handrail master key' + secret).hexdigest()[:16]}"
