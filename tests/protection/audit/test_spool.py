"""What a command did is in the log once a server is there to keep it."""

from pathlib import Path

import pytest

from handrail.bootstrap import services_from
from handrail.core.clock import FrozenClock
from handrail.flows.audit import take_in
from handrail.protection.audit import AuditQuery, Spool
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.settings import read_settings


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def add(spool: Spool, action: str = "database.backed_up") -> None:
    spool.add(action, "done", "database:sqlite", at=7, details=[("file", "mine.db")])


async def test_it_is_stored_once_with_its_own_time_and_without_the_file_s_name(tmp_path: Path, spool: Spool) -> None:
    async with services_from(read_settings(data_dir=tmp_path), FrozenClock()) as services:
        assert await take_in(services) == 0
        add(spool)
        add(spool, "database.checked")
        assert [await take_in(services) for _ in range(2)] == [2, 0]
        found = await services.audit.store.search(AuditQuery(LOCAL_OPERATOR.tenant_id))
        mine = [each for each in found if each.action.startswith("database.")]
        assert [(each.at, each.target) for each in mine] == [(7, "database:sqlite")] * 2
        assert (tmp_path / "audit.pending").stat().st_mode & 0o077 == 0


def test_what_could_not_be_stored_waits(spool: Spool) -> None:
    add(spool)

    def fails() -> None:
        with spool.taken("default", LOCAL_OPERATOR) as entries:
            raise RuntimeError(f"{len(entries)} could not be stored")

    with pytest.raises(RuntimeError, match="1 could not"):
        fails()
    assert spool.is_waiting


def test_a_line_that_is_none_is_left_out(tmp_path: Path, spool: Spool) -> None:
    (tmp_path / "audit.pending").write_bytes(b'{"action": 7}\n[]\n\xff\n{"at": "x"}\nnull\n')
    add(spool)
    with spool.taken("default", LOCAL_OPERATOR) as entries:
        assert [entry.action for entry, _ in entries] == ["database.backed_up"]
    assert not spool.is_waiting


def test_two_do_not_take_the_same(tmp_path: Path, spool: Spool) -> None:
    add(spool)
    with (
        spool.taken("default", LOCAL_OPERATOR),
        pytest.raises(BlockingIOError),
        Spool(tmp_path).taken("default", LOCAL_OPERATOR),
    ):
        pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, spool: Spool) -> None:
    (tmp_path / "audit.pending").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        add(spool)
    assert not (tmp_path / "elsewhere").exists()
