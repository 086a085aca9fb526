"""One process owns a SQLite database: a locked file beside it says which, and where it listens."""

import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any

from handrail.core.errors import UsageError


class AlreadyServed(UsageError):
    """Another process holds this data folder; `address` is where it listens, if it said."""

    code = "already_served"

    def __init__(self, data_dir: Path, address: str | None, pid: int | None) -> None:
        where = f" at {address}" if address else ""
        super().__init__(
            f"{str(data_dir)!r} is in use by process {pid or '?'}{where}; stop it, or use another --data-dir"
        )
        self.address = address


class OwnerLock:
    """Held for the life of the process; the kernel lets go of it however the process ends."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / "handrail.lock"
        self._file: IO[str] | None = None

    def acquire(self, address: str | None = None) -> None:
        """Raises `AlreadyServed` when another process holds it."""
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            said = _read(file)
            file.close()
            raise AlreadyServed(self._data_dir, said.get("address"), said.get("pid")) from error
        self._file = file
        self.announce(address)

    def announce(self, address: str | None) -> None:
        """Say where this process listens."""
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        json.dump({"pid": os.getpid(), "address": address}, self._file)
        self._file.flush()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _read(file: IO[str]) -> dict[str, Any]:
    try:
        file.seek(0)
        said = json.load(file)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def holder(data_dir: Path) -> str | None:
    """The address of the server that owns the folder right now; `None` when nobody does or it has not said."""
    held = _held(data_dir)
    return None if held is None else held.address


def is_held(data_dir: Path) -> bool:
    """Whether a process owns the folder right now. Nothing is made where there is none."""
    return _held(data_dir) is not None


def _held(data_dir: Path) -> AlreadyServed | None:
    if not (data_dir / "handrail.lock").exists():
        return None
    lock = OwnerLock(data_dir)
    try:
        lock.acquire()
    except AlreadyServed as held:
        return held
    lock.release()
    return None
