"""Read an agent project's folder into an immutable set of files."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from handrail.core import json
from handrail.core.documents import Problem, ProjectError

# Part of the digest: a change of what is read, or how it is spelled, gives new ids.
FORMAT_VERSION: Final = 1
LARGEST_FILE: Final = 1_000_000
MOST_FILES: Final = 2_000
MOST_BYTES: Final = 20_000_000
LOCK_FILES: Final = ("requirements.lock", "requirements.txt")

_REQUIRED: Final = {
    "agent.yaml": "the agent's name, models and limits",
    "instructions.md": "what the agent is told about its work",
}
_TOP: Final = frozenset({*_REQUIRED, "intents.yaml", "policies.yaml", *LOCK_FILES})
_FOLDERS: Final = {"flows": ".yaml", "tests": ".yaml", "knowledge": ".md"}
_NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "venv", "env", "site-packages", "build", "dist"})


@dataclass(frozen=True)
class Sources:
    """Relative path -> content, as it is stored and hashed: UTF-8, no byte order mark, newline as line end."""

    files: Mapping[str, bytes]
    format_version: int = field(default=FORMAT_VERSION)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every path and content and the format version, in hex."""
        files = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        return json.digest({"format_version": self.format_version, "files": files})

    @property
    def release_id(self) -> str:
        return f"rel_{self.digest[:16]}"

    @cached_property
    def lock_hash(self) -> str | None:
        """SHA-256 of the file that pins the third-party packages, if there is one."""
        for name in LOCK_FILES:
            if name in self.files:
                return hashlib.sha256(self.files[name]).hexdigest()
        return None

    def text(self, path: str) -> str:
        """Raises `KeyError` for a file that is not there."""
        return self.files[path].decode()

    def under(self, folder: str, suffix: str) -> list[str]:
        """Paths in `folder` with that ending, in order."""
        return sorted(path for path in self.files if path.startswith(f"{folder}/") and path.endswith(suffix))

    def python(self) -> list[str]:
        return sorted(path for path in self.files if path.endswith(".py"))


def read_sources(folder: Path) -> Sources:
    """Everything of the project that a release holds; other files of the folder are left alone.

    The folder is read twice: a snapshot must not mix the states before and after somebody's save.

    Raises:
        ProjectError: a required file is missing; a file is too large, no text, a link that leads out of the folder,
            or changed meanwhile.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise ProjectError([Problem(str(folder), 0, "there is no such folder; 'handrail init NAME' makes one")])
    files = _read(root)
    missing = [
        Problem(name, 0, f"is missing; create it ({what}), or begin with 'handrail init NAME'")
        for name, what in _REQUIRED.items()
        if name not in files
    ]
    if missing:
        raise ProjectError(missing)
    _require_unchanged(files, _read(root))
    return Sources({path: files[path] for path in sorted(files)})


def _require_unchanged(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> None:
    changed = sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
    if changed:
        raise ProjectError([_changed(path) for path in changed])


def _changed(path: str) -> Problem:
    return Problem(path, 0, "changed while it was read; finish saving and try again")


def _read(root: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    for path in _walk(root, PurePosixPath()):
        try:
            files[str(path)] = _content(root, str(path))
        except ProjectError as error:
            problems.extend(error.problems)
        if len(files) > MOST_FILES or sum(map(len, files.values())) > MOST_BYTES:
            limit = f"at most {MOST_FILES} files and {MOST_BYTES // 1_000_000} MB"
            raise ProjectError([Problem(str(path.parent), 0, f"the project is too large for a release ({limit})")])
    if problems:
        raise ProjectError(problems)
    return files


def _walk(root: Path, folder: PurePosixPath) -> Iterator[PurePosixPath]:
    for entry in sorted(os.scandir(root / folder), key=lambda each: each.name):
        path = folder / entry.name
        if entry.name.startswith(".") or entry.name in _NOT_OURS:
            continue
        if not entry.is_dir():
            if _is_ours(path):
                yield path
        elif not entry.is_symlink():
            if not os.path.exists(root / path / "pyvenv.cfg"):
                yield from _walk(root, path)
        elif _holds_ours(root, path):
            raise ProjectError([Problem(str(path), 0, "is a link to a folder; put the folder itself here")])


def _holds_ours(root: Path, path: PurePosixPath) -> bool:
    """Only links that would hide project files matter; a link to a data folder is the user's business."""
    return path.parts[0] in _FOLDERS or any((root / path).glob("*.py"))


def _is_ours(path: PurePosixPath) -> bool:
    top = path.parts[0]
    if len(path.parts) > 1 and top in _FOLDERS:
        _require_spelling(path, wrong=".yml", right=".yaml")
        # Tests of tools written with pytest live in tests/ as well: they are not what is released.
        return path.suffix == _FOLDERS[top] or (path.suffix == ".py" and top != "tests")
    if path.suffix == ".py":
        return not (path.name == "conftest.py" or path.name.startswith("test_") or path.name.endswith("_test.py"))
    if len(path.parts) == 1 and f"{path.stem}.yaml" in _TOP:
        _require_spelling(path, wrong=".yml", right=".yaml")
    return str(path) in _TOP


def _require_spelling(path: PurePosixPath, *, wrong: str, right: str) -> None:
    if path.suffix == wrong:
        raise ProjectError([Problem(str(path), 0, f"ends in {wrong!r} and would not be read; rename it to {right!r}")])


def _content(root: Path, path: str) -> bytes:
    """The canonical content of one file.

    Raises:
        ProjectError: it can't be part of a release.
    """
    place = root / path
    real = place.resolve()
    if not real.is_relative_to(root):
        raise ProjectError(
            [Problem(path, 0, f"is a link that leads out of the project, to {str(real)!r}; copy it here")]
        )
    try:
        before = real.stat()
        if before.st_size > LARGEST_FILE:
            size = f"{before.st_size / 1_000_000:.1f} MB"
            raise ProjectError([Problem(path, 0, f"has {size}; a project file has at most 1 MB, so split it")])
        content = real.read_bytes()
        after = real.stat()
    except OSError as error:
        raise ProjectError([Problem(path, 0, f"can't be read ({error.strerror})")]) from error
    if _identity(before) != _identity(after) or len(content) != after.st_size:
        raise ProjectError([_changed(path)])
    return _canonical(path, content)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _canonical(path: str, content: bytes) -> bytes:
    """One spelling on every system: git may check the same file out with other line ends."""
    try:
        text = content.decode("utf-8-sig")
        str(path).encode()
    except UnicodeError as error:
        raise ProjectError([Problem(path, 0, f"is not UTF-8 text ({error}); save it as UTF-8")]) from error
    return text.replace("\r\n", "\n").encode()
