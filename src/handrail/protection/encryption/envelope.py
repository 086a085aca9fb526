"""One sealed value: which key, which version of it, and AES-256-GCM over the text, bound to the place it stands at."""

import binascii
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from handrail.core.errors import HandrailError

KEY_BYTES = 32
NONCE_BYTES = 12
# A control character in front: what people type does not begin with it, and both databases take it as text.
MARK = "\x01h1:"


class ContentUnreadable(HandrailError):
    """A sealed value was changed, moved to another place, or is under a key that this deployment does not have."""

    code = "content_unreadable"


def is_sealed(value: object) -> bool:
    return isinstance(value, str) and value.startswith(MARK)


def key_of(sealed: str) -> tuple[str, int]:
    """The id and version of the key that a sealed value names.

    Raises:
        ContentUnreadable: it only looks like one.
    """
    parts = sealed.split(":", 3)
    if len(parts) != 4 or not parts[2].isdecimal():
        raise ContentUnreadable("a value looks sealed and names no key; it was changed, or written by somebody else")
    return parts[1], int(parts[2])


class DataKey:
    """What seals one subject's content.

    A value opens only under its tenant, its subject and its `place`: the field, and the row it stands in.
    """

    __slots__ = ("_bound", "_cipher", "_prefix", "_secret", "id", "owner", "tenant_id", "version")

    def __init__(self, id: str, version: int, tenant_id: str, owner: str, secret: bytes) -> None:
        self.id = id
        self.version = version
        self.tenant_id = tenant_id
        self.owner = owner
        self._cipher = AESGCM(secret)
        self._secret = secret
        self._prefix = f"{MARK}{id}:{version}:"
        self._bound = f"{tenant_id}\0{owner}\0"

    def derived(self, purpose: str) -> bytes:
        """A key of its own for something else; it tells nothing about this one."""
        return hmac.digest(self._secret, f"handrail {purpose}".encode(), hashlib.sha256)

    def seal(self, text: str, place: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), (self._bound + place).encode())
        return self._prefix + binascii.b2a_base64(nonce + sealed, newline=False).decode()

    def open(self, sealed: str, place: str) -> str:
        """The text again.

        Raises:
            ContentUnreadable: it was changed, or stands at another place than it was written to.
        """
        try:
            raw = binascii.a2b_base64(sealed[len(self._prefix) :], strict_mode=True)
            opened = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], (self._bound + place).encode())
        except (ValueError, InvalidTag) as error:
            field = place.partition("\0")[0]
            raise ContentUnreadable(
                f"a sealed value of {field!r} does not open with its key {self.id!r}: it was changed or moved; "
                "restore the row from a backup"
            ) from error
        return opened.decode()
