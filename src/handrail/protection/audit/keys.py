"""The secrets of a deployment that no master key wraps: what signs checkpoints, what pseudonyms and tokens are made
with."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from handrail.core.errors import UsageError
from handrail.db.secret_file import secret_of
from handrail.protection.audit.checkpoints import SigningKey
from handrail.protection.audit.pseudonyms import Pseudonyms

FILE = "audit.key"
SECRET_BYTES = 32


class AuditKeysExposed(UsageError):
    """The audit key can be read by others, or is none."""

    code = "audit_key_exposed"


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """All are derived from one secret, so that a deployment has one thing to keep; `tokens` is for another room."""

    signing: SigningKey
    pseudonyms: Pseudonyms
    tokens: bytes = field(repr=False)

    @classmethod
    def derived(cls, secret: bytes) -> "AuditKeys":
        return cls(
            SigningKey(_derive(secret, b"sign")), Pseudonyms(_derive(secret, b"pseudonyms")), _derive(secret, b"tokens")
        )


def audit_keys(data_dir: Path, given: str | None = None) -> AuditKeys:
    """The keys of a deployment: of the secret in its settings, else of a file made at first use.

    Several replicas need the same secret, or each has its own pseudonyms for the same people.

    Raises:
        AuditKeysExposed: the secret is malformed, or others can read its file.
    """
    if given is not None:
        return AuditKeys.derived(_decoded(given, "HANDRAIL_AUDIT__SECRET"))
    path = data_dir / FILE
    secret = secret_of(path, lambda: base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode())
    if secret is None:
        raise AuditKeysExposed(
            f"others can read {str(path)!r}, so anybody could sign audit checkpoints; make it 600, or move it away: "
            "the next start makes a new key, and checkpoints of both keys stay provable"
        )
    return AuditKeys.derived(_decoded(secret, str(path)))


def _decoded(text: str, where: str) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise AuditKeysExposed(f"{where!r} does not hold {SECRET_BYTES} bytes as base64")
    return secret


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return hmac.new(secret, b"handrail audit " + purpose, hashlib.sha256).digest()
