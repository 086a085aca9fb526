"""A backup may be any file: it is one of ours and whole, or an error that has a name."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handrail.core.errors import HandrailError
from handrail.db.backup import require_backup
from tests.declared import only


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database with rows that refer to others."""
    path = tmp_path_factory.mktemp("backup") / "whole.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        connection.execute("CREATE TABLE thing (id INTEGER PRIMARY KEY, parent REFERENCES thing (id), text)")
        connection.executemany("INSERT INTO thing VALUES (?, ?, ?)", [(n, n, "x" * 50) for n in range(1, 100)])
    connection.close()
    return path


def judged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with only(HandrailError):
        require_backup(path)


FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"SQLite format 3\0" + rest))
def test_any_bytes_are_a_backup_or_an_error_with_a_name(tmp_path: Path, content: bytes):
    judged(tmp_path / "any.db", content)


@FEW
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=20), cut=st.floats(0, 1))
def test_damage_anywhere_is_an_error_with_a_name_or_harmless(
    tmp_path: Path, whole: Path, changes: list[tuple[float, int]], cut: float
):
    content = whole.read_bytes()
    damaged = bytearray(content)
    for place, value in changes:
        damaged[int(place * (len(content) - 1))] = value
    judged(tmp_path / "damaged.db", bytes(damaged))
    judged(tmp_path / "cut.db", content[: int(cut * len(content))])
