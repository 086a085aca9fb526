"""Which schema revisions this version knows, and which one a file has."""

import sqlite3
from pathlib import Path

from handrail.core.errors import UsageError
from handrail.db.batch import WrongDatabase
from handrail.db.migrate import migrations_folder


def known_revisions() -> tuple[str, ...]:
    """Oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(migrations_folder()))
    return tuple(reversed([each.revision for each in script.walk_revisions()]))


def require_known(revision: str | None, what: str) -> str:
    """The revision, when this version knows it.

    Raises:
        WrongDatabase: it is of a newer version, or there is none.
    """
    if revision is None:
        raise WrongDatabase(f"{what} holds no Handrail database")
    if revision not in known_revisions():
        raise WrongDatabase(
            f"{what} is at revision {revision!r}, which this version does not know; use the version that wrote it, "
            "or a newer one"
        )
    return revision


def revision_of(path: Path) -> str | None:
    """The revision of an SQLite file; None when it is not one of ours.

    Raises:
        UsageError: there is no such file, or it is no database.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    connection = sqlite3.connect(path)
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{str(path)!r} is no database ({error})") from error
    finally:
        connection.close()
