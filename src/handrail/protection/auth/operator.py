"""The token by which commands on this machine act on a running server."""

import os
import re
import secrets
import stat
from pathlib import Path

from handrail.core.errors import UsageError

FILE = "operator.token"
TOKEN = re.compile(r"hrop_[0-9a-f]{64}")


class TokenFileExposed(UsageError):
    """The token's file can be read by others, or does not hold a token."""

    code = "token_file_exposed"


def operator_token(data_dir: Path) -> str:
    """The token of this data folder, made at first use in a file that only its owner can read.

    Raises:
        TokenFileExposed: the file is open to others or was tampered with.
    """
    path = data_dir / FILE
    if not path.exists():
        _create(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise TokenFileExposed(f"others can read {str(path)!r}; delete it, and the next start makes a new one")
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if not TOKEN.fullmatch(token):
        raise TokenFileExposed(f"{str(path)!r} does not hold a token; delete it, and the next start makes a new one")
    return token


def _create(path: Path) -> None:
    """Whole or not at all: two processes that start together agree on the first one's token."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(f"hrop_{secrets.token_hex(32)}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
