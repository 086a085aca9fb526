"""Words and identifiers as they lie in the index: a few bits of an HMAC under a key of their tenant."""

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable

# What it is for stands in front of what is hashed, so that no word is ever taken for an identifier.
_WORD, _IDENTIFIER, _NAME = b"word\0", b"identifier\0", b"name of the key"
MOST_WORDS = 500


class SearchKey:
    """What a tenant's words are hashed with; `name` says which one it is and nothing about it."""

    __slots__ = ("_secret", "name")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.name = self._characters(_NAME, 8)

    def word(self, word: str) -> str:
        """30 bits, as five characters: enough to tell the words of a deployment apart."""
        return self._characters(_WORD + word.encode("utf-8", "surrogatepass"), 5)

    def identifier(self, form: str) -> str:
        """16 bits behind a mark. 65,536 values share them out, so that nobody can tell by them which one was said."""
        digest = hmac.digest(self._secret, _IDENTIFIER + form.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return f"~{digest[:2].hex()}"

    def entry(self, words: Iterable[str], forms: Iterable[str]) -> str:
        """The words of one conversation, and the forms of its identifiers, in an order that tells nothing."""
        hashed = {self.word(word) for word in list(dict.fromkeys(words))[:MOST_WORDS]}
        hashed |= {self.identifier(form) for form in list(dict.fromkeys(forms))[:MOST_WORDS]}
        # Blanks around each: one of them is found by its own and its neighbours' blanks.
        return f" {' '.join(sorted(hashed))} "

    def _characters(self, text: bytes, most: int) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self._secret, text, hashlib.sha256)[:9])[:most].decode()


class SearchKeys:
    """The keys of tenants, made of what the deployment keeps for them.

    Args:
        secret_of: the secret of a tenant, the same for as long as it is not rotated.
    """

    def __init__(self, secret_of: Callable[[str], Awaitable[bytes]]) -> None:
        self._secret_of = secret_of

    async def of(self, tenant_id: str) -> SearchKey:
        return SearchKey(await self._secret_of(tenant_id))
