"""The token by which commands on this machine act on a running server."""

import re
import secrets
from pathlib import Path

from handrail.core.errors import UsageError
from handrail.db.secret_file import secret_of

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
    token = secret_of(path, lambda: f"hrop_{secrets.token_hex(32)}")
    if token is None:
        raise TokenFileExposed(f"others can read {str(path)!r}; delete it, and the next start makes a new one")
    if not TOKEN.fullmatch(token):
        raise TokenFileExposed(f"{str(path)!r} does not hold a token; delete it, and the next start makes a new one")
    return token
