"""Signed checkpoints: so many records, with this root, at this time."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from handrail.protection.audit.merkle import EMPTY_ROOT

ORIGIN = "handrail-audit/1"
# The end of the year 9999; no number of ours is larger.
LAST_MICROS = 253_402_300_799_999_999
FIRST_PREVIOUS = "0" * 64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was signed.

    Attributes:
        number: from 1, without holes.
        size: how many records the log had.
        root: the Merkle root over them, in hex.
        previous: the digest of the checkpoint before, in hex.
        at: microseconds since 1970 UTC.
        key_id: which key signed.
        signature: Ed25519 over `text`, base64.
    """

    number: int
    size: int
    root: str
    previous: str
    at: int
    key_id: str
    signature: str = ""

    @property
    def text(self) -> bytes:
        """What the signature is over: one fact a line."""
        lines = (ORIGIN, self.number, self.size, self.root, self.previous, self.at, self.key_id)
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()

    def body(self) -> dict[str, Any]:
        """As it is exported."""
        return {
            "number": self.number,
            "size": self.size,
            "root": self.root,
            "previous": self.previous,
            "at": self.at,
            "key_id": self.key_id,
            "signature": self.signature,
        }

    @classmethod
    def parse(cls, body: dict[str, Any]) -> "Checkpoint":
        """Raises `ValueError` when this is not an exported checkpoint."""
        try:
            texts = [str(body[name]) for name in ("root", "previous", "key_id", "signature")]
            number, size, at = (_whole(name, int(body[name])) for name in ("number", "size", "at"))
            return cls(number, size, texts[0], texts[1], at, *texts[2:])
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"this is not a checkpoint: {error}") from error


class SigningKey:
    """An Ed25519 key; its id is a digest of the public half, so that it can't be given to another key."""

    __slots__ = ("_private", "key_id", "public")

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        raw = self._private.public_key().public_bytes_raw()
        self.public = base64.b64encode(raw).decode()
        self.key_id = key_id_of(self.public)

    def sign(self, number: int, size: int, root: bytes, previous: str, at: int) -> Checkpoint:
        unsigned = Checkpoint(number, size, root.hex(), previous, at, self.key_id)
        signature = base64.b64encode(self._private.sign(unsigned.text)).decode()
        return Checkpoint(number, size, unsigned.root, previous, at, self.key_id, signature)


def _whole(name: str, value: int) -> int:
    if not 0 <= value <= LAST_MICROS:
        raise ValueError(f"its {name!r} is not a number from 0 to {LAST_MICROS}")
    return value


def key_id_of(public: str) -> str:
    return hashlib.sha256(base64.b64decode(public)).hexdigest()[:16]


def is_signed(checkpoint: Checkpoint, public: str) -> bool:
    """Whether this public key (base64) signed this checkpoint."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        key.verify(base64.b64decode(checkpoint.signature, validate=True), checkpoint.text)
    except (ValueError, InvalidSignature):
        return False
    return key_id_of(public) == checkpoint.key_id


def root_of_nothing() -> str:
    return EMPTY_ROOT.hex()
