"""Names of people as keyed HMACs: the same person is the same pseudonym within a tenant, and nobody can go back."""

import hashlib
import hmac

LENGTH = 32


class Pseudonyms:
    """HMAC-SHA256 under a secret of the deployment, cut to 128 bits.

    A tenant's pseudonyms say nothing about another's: the tenant is part of what is hashed.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < LENGTH:
            raise ValueError(f"the secret of pseudonyms needs {LENGTH} bytes, not {len(secret)}")
        self._secret = secret

    def of(self, tenant_id: str, value: str) -> str:
        """`hmac:` and 32 hex digits."""
        # A length in front, so that no tenant's name can run into the value.
        text = f"{len(tenant_id)}:{tenant_id}:{value}".encode()
        return f"hmac:{hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:LENGTH]}"
