"""What commands did while no process of theirs keeps the log: a file in the data folder, taken in by the server that
runs over it, or by the next one."""

import fcntl
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handrail.core import json
from handrail.core.principal import Principal
from handrail.protection.audit.records import AuditEntry, Outcome
from handrail.telemetry.logging import logger

FILE = "audit.pending"
MOST_BYTES = 1 << 20


class Spool:
    """One line a command. At least once: a server that dies while it takes a line in may do it again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def add(self, action: str, outcome: Outcome, target: str, *, at: int, details: Sequence[tuple[str, str]]) -> None:
        line = json.dumps({"action": action, "outcome": outcome, "target": target, "at": at, "details": dict(details)})
        with self._locked(os.O_WRONLY | os.O_APPEND | os.O_CREAT, fcntl.LOCK_EX) as file:
            os.write(file, line.encode() + b"\n")

    @property
    def is_waiting(self) -> bool:
        try:
            return self._path.stat().st_size > 0
        except FileNotFoundError:
            return False

    @contextmanager
    def taken(self, tenant_id: str, by: Principal) -> Generator[Sequence[tuple[AuditEntry, int]]]:
        """What waits, each with its time; it is gone after the block, unless that fails.

        Raises:
            BlockingIOError: somebody else has it in hand.
        """
        with self._locked(os.O_RDWR, fcntl.LOCK_EX | fcntl.LOCK_NB) as file:
            lines = os.read(file, MOST_BYTES).decode(errors="replace").splitlines()
            yield [found for each in lines if (found := _entry(each, tenant_id, by)) is not None]
            os.ftruncate(file, 0)

    @contextmanager
    def _locked(self, flags: int, how: int) -> Generator[int]:
        file = os.open(self._path, flags | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, how)
            yield file
        finally:
            os.close(file)


def _entry(line: str, tenant_id: str, by: Principal) -> tuple[AuditEntry, int] | None:
    """A line that is none is left out, and the log says so."""
    try:
        body: Any = json.loads(line)
        outcome: Outcome = "done" if body["outcome"] == "done" else "failed"
        details = tuple((str(name), str(value)) for name, value in body["details"].items())
        return AuditEntry(tenant_id, str(body["action"]), outcome, str(body["target"]), by, details=details), int(
            body["at"]
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        logger().warning("a line of audit.pending is not one of ours", error=type(error).__name__)
        return None
