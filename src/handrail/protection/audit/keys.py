"""The secrets of the audit log: what signs checkpoints, and what pseudonyms are made with."""

import base64
import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from handrail.core.errors import UsageError
from handrail.protection.audit.checkpoints import SigningKey
from handrail.protection.audit.pseudonyms import Pseudonyms

FILE = "audit.key"
SECRET_BYTES = 32


class AuditKeysExposed(UsageError):
    """The audit key can be read by others, or is none."""

    code = "audit_key_exposed"


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """Both are derived from one secret, so that a deployment has one thing to keep."""

    signing: SigningKey
    pseudonyms: Pseudonyms

    @classmethod
    def derived(cls, secret: bytes) -> "AuditKeys":
        return cls(SigningKey(_derive(secret, b"sign")), Pseudonyms(_derive(secret, b"pseudonyms")))


def audit_keys(data_dir: Path, given: str | None = None) -> AuditKeys:
    """The keys of a deployment: of the secret in its settings, else of a file made at first use.

    Several replicas need the same secret, or each has its own pseudonyms for the same people.

    Raises:
        AuditKeysExposed: the secret is malformed, or others can read its file.
    """
    if given is not None:
        return AuditKeys.derived(_decoded(given, "HANDRAIL_AUDIT__SECRET"))
    path = data_dir / FILE
    if not path.exists():
        _create(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise AuditKeysExposed(
            f"others can read {str(path)!r}, so anybody could sign audit checkpoints; make it 600, or move it away: "
            "the next start makes a new key, and checkpoints of both keys stay provable"
        )
    return AuditKeys.derived(_decoded(path.read_text(encoding="ascii", errors="replace").strip(), str(path)))


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


def _create(path: Path) -> None:
    """Whole or not at all: two processes that start together agree on the first one's key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
