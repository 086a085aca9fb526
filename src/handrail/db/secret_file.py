"""Secrets of the data folder: each in a file of its own that only its owner can read."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path


def secret_of(path: Path, made: Callable[[], str]) -> str | None:
    """The text of the file, made at first use; `None` when others can read it.

    Made whole or not at all: two processes that start together agree on the first one's secret.
    """
    if not path.exists():
        _create(path, made())
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return None
    return path.read_text(encoding="ascii", errors="replace").strip()


def _create(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
