"""What changed between two snapshots."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from handrail.delivery.releases.sources import Sources


@dataclass(frozen=True, slots=True)
class FileChange:
    """`unified` is the change as a unified diff, from the old file to the new one."""

    path: str
    change: Literal["added", "removed", "changed"]
    unified: str


def diff(old: Sources, new: Sources) -> list[FileChange]:
    """The files that differ, in order of their paths; empty for equal snapshots."""
    return list(_changes(old, new))


def _changes(old: Sources, new: Sources) -> Iterator[FileChange]:
    for path in sorted(old.files.keys() | new.files.keys()):
        before, after = old.files.get(path), new.files.get(path)
        if before == after:
            continue
        change = "added" if before is None else "removed" if after is None else "changed"
        yield FileChange(path, change, _unified(path, before, after))


def _unified(path: str, before: bytes | None, after: bytes | None) -> str:
    left = "/dev/null" if before is None else f"a/{path}"
    right = "/dev/null" if after is None else f"b/{path}"
    lines = difflib.unified_diff(_lines(before), _lines(after), left, right)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode().splitlines(keepends=True)
