"""Which commit a project folder is at, if git knows."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class GitState:
    """`dirty` says whether the folder differs from the commit; both are None outside a repository."""

    commit: str | None
    dirty: bool | None


NO_GIT = GitState(None, None)


def git_state(folder: Path) -> GitState:
    """Never fails: a release may be made without git, from a folder that is no repository, or while git hangs."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return NO_GIT
    status = _git(folder, "status", "--porcelain", "--", ".")
    return GitState(commit.strip(), None if status is None else bool(status.strip()))


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks, looking can't get in the way of a git command that the user runs meanwhile.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, text=True)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None
