"""What stands for an identifier where a model or a person must not see it: `<email_7k2q9x4mwz3b>`.

A handle can't be guessed and means one value in one conversation. Text that looks like one when it comes in is itself
put behind a handle (of kind `text`), so that nobody can write one down and have it taken for ours.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Literal, get_args

TokenKind = Literal["email", "phone", "card", "iban", "ssn", "ip", "api_key"]
TOKEN_KINDS: Sequence[TokenKind] = get_args(TokenKind)
# The kind of what only looks like a handle.
LOOK_ALIKE = "text"

_KINDS = "|".join((*TOKEN_KINDS, LOOK_ALIKE))
_CHARACTER = "[0-9a-hjkmnp-tv-z]"
LENGTH = 12
HANDLE = re.compile(rf"<(?:{_KINDS})_{_CHARACTER}{{{LENGTH}}}>")
# What may still become one when more of the text is there.
BEGUN = re.compile(rf"<(?:[a-z_]{{0,8}}|(?:{_KINDS})_{_CHARACTER}{{0,{LENGTH}}})\Z")
_LONGEST = len("<api_key_>") + LENGTH
_BASE32 = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz")


class Mint:
    """Makes the handles of a deployment: HMAC-SHA256 under its secret, cut to 60 bits.

    The same value has the same handle in one conversation, and another one in every other.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def handle(self, tenant_id: str, conversation_id: str, kind: str, value: str) -> str:
        # Lengths in front, so that no part can run into the next one.
        text = f"{len(tenant_id)}:{tenant_id}:{len(conversation_id)}:{conversation_id}:{kind}:{value}"
        digest = hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return f"<{kind}_{base64.b32encode(digest[:10])[:LENGTH].translate(_BASE32).decode()}>"


def handles_in(text: str) -> list[str]:
    """What has the form of a handle, once each."""
    return list(dict.fromkeys(HANDLE.findall(text))) if "<" in text else []


def undecided(text: str) -> int:
    """Where a handle begins that may go on after the text; its length when none does."""
    start = text.rfind("<", max(0, len(text) - _LONGEST))
    return start if start >= 0 and BEGUN.match(text, start) else len(text)


def without_handles(text: str) -> str:
    """The text with a blank where each stands."""
    return HANDLE.sub(" ", text) if "<" in text else text
