"""Copies of the database in one portable form: a single SQLite file, whichever database it was taken from."""

import contextlib
import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from handrail.core.errors import HandrailError, UsageError
from handrail.db.revisions import require_known, revision_of

MOST_PROBLEMS = 20
# Of one problem: SQLite tells of a damaged page cell by cell.
MOST_SAID = 300


class BackupFailed(HandrailError):
    """The copy could not be written or read; what was there before is as it was."""

    code = "backup_failed"


@contextmanager
def new_file(path: Path) -> Generator[Path]:
    """A file beside `path` to write to, which takes its name when the block ends well, and is gone otherwise.

    Raises:
        UsageError: there is such a file already.
        BackupFailed: the disk did not take it.
    """
    if path.exists():
        raise UsageError(f"{str(path)!r} is there already; name a new file")
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        yield part
        sync(part)
        os.replace(part, path)
        sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"can't write {str(path)!r}: {error}; nothing is left of it") from error
    finally:
        for each in (part, *side_files(part)):
            with contextlib.suppress(OSError):
                each.unlink(missing_ok=True)


def back_up_sqlite(source: Path, target: Path) -> None:
    """Copy a database that may be in use: a snapshot as of now; writers are not held up.

    Raises:
        UsageError: there is no database, or the target is there already.
        BackupFailed: the disk is full, or the source is damaged.
    """
    require_known(revision_of(source), f"the database {str(source)!r}")
    with new_file(target) as part, closing(sqlite3.connect(source, timeout=30)) as read:
        copy_into(read, part)


def copy_into(read: sqlite3.Connection, target: Path) -> None:
    """All pages in one read transaction, then one file without side files."""
    with closing(sqlite3.connect(target)) as written:
        # In one go: a copy in steps begins anew whenever somebody writes.
        read.backup(written, pages=-1)
        leave_out_index(written)
        written.execute("PRAGMA journal_mode=DELETE")
        problems = file_problems(written)
    if problems:
        raise BackupFailed(f"the database is damaged: {problems[0]}; `handrail db check` says more")


def leave_out_index(written: sqlite3.Connection) -> None:
    """No copy tells by its index what was said in a conversation that is erased later; a server reads it all anew."""
    if not written.execute("SELECT 1 FROM sqlite_master WHERE name = 'search_entry'").fetchone():
        return
    written.execute("PRAGMA secure_delete=ON")
    with written:
        written.execute(
            "INSERT INTO search_pending (conversation_id, tenant_id, since, changed_at, changes) "
            "SELECT conversation_id, tenant_id, indexed_at, 0, 1 FROM search_entry WHERE true ON CONFLICT DO NOTHING"
        )
        written.execute("DELETE FROM search_entry")


def require_backup(path: Path) -> str:
    """The revision of a backup that is whole and that this version can read.

    Raises:
        UsageError: there is no such file, or it is no database.
        WrongDatabase: a newer version wrote it.
        BackupFailed: it is damaged.
    """
    revision = require_known(revision_of(path), f"the backup {str(path)!r}")
    with closing(sqlite3.connect(path)) as connection:
        problems = file_problems(connection)
    if problems:
        raise BackupFailed(f"the backup {str(path)!r} is damaged: {problems[0]}; take another one")
    return revision


def restore_sqlite(source: Path, target: Path) -> Path | None:
    """Put a backup in the place of the database, which nobody may have open; where the old one lies now.

    The new file is complete before it takes the name in one step: killed at any point, the old or the new is there.

    Raises:
        UsageError: there is no such backup, or it is no database.
        WrongDatabase: a newer version wrote it.
        BackupFailed: it is damaged, or the disk did not take it.
    """
    require_backup(source)
    with contextlib.suppress(UsageError):  # damaged or not there: then it is replaced all the more
        found = revision_of(target)
        if found is not None:
            require_known(found, f"the database {str(target)!r}")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    fresh = target.with_name(f"{target.name}.restored")
    fresh.unlink(missing_ok=True)
    try:
        with new_file(fresh) as part, closing(sqlite3.connect(source)) as read:
            copy_into(read, part)
        old = _keep_aside(target, aside)
        os.replace(fresh, target)
        sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"can't restore to {str(target)!r}: {error}; the database is as it was") from error
    finally:
        fresh.unlink(missing_ok=True)
    return old


def _keep_aside(target: Path, aside: Path) -> Path | None:
    """A second name for the old file, with all that its write-ahead log holds."""
    if not target.exists():
        return None
    try:
        with closing(sqlite3.connect(target, timeout=5)) as old:
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError:
        # Damaged, which may be why it is replaced: kept as it is, its log too.
        for each in side_files(target):
            if each.exists():
                os.link(each, each.with_name(each.name.replace(target.name, aside.name)))
    os.link(target, aside)
    # A log that is left would be taken for the new file's.
    for each in side_files(target):
        each.unlink(missing_ok=True)
    return aside


def file_problems(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with a file: its pages, and rows that refer to nothing."""
    try:
        said = [str(row[0])[:MOST_SAID] for row in connection.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})")]
        problems = [] if said == ["ok"] else said
        for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(MOST_PROBLEMS):
            problems.append(f"row {row} of {table!r} refers to a {parent!r} that is not there")
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return problems


def side_files(path: Path) -> tuple[Path, ...]:
    return tuple(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-journal"))


def sync(path: Path) -> None:
    """To the disk itself, folders too: their entries are what makes a new name last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
