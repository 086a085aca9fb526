"""Joining changelog fragments."""

from datetime import date
from pathlib import Path

import pytest

from scripts import changelog

DAY = date(2026, 11, 22)
EMPTY = f"# Changelog\n\n{changelog.MARKER}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d/README.md").write_text("How to write one.")
    (tmp_path / "CHANGELOG.md").write_text(EMPTY)
    monkeypatch.setattr(changelog, "ROOT", tmp_path)
    return tmp_path


def add(project: Path, name: str, text: str) -> Path:
    path = project / "changelog.d" / name
    path.write_text(text)
    return path


def test_groups_entries_by_kind_in_a_fixed_order(project: Path) -> None:
    fragments = [add(project, "7.fixed.md", "A fix.\n"), add(project, "chat.added.md", "A page\nthat streams.\n")]
    text = changelog.with_release(EMPTY, "0.2.0", DAY, fragments)
    assert text == EMPTY + ("\n## 0.2.0 (2026-11-22)\n\n### Added\n\n- A page that streams.\n\n### Fixed\n\n- A fix.\n")


def test_puts_a_new_release_above_the_earlier_ones(project: Path) -> None:
    first = changelog.with_release(EMPTY, "0.1.0", DAY, [add(project, "1.added.md", "One.")])
    second = changelog.with_release(first, "0.2.0", DAY, [add(project, "2.added.md", "Two.")])
    assert second.index("## 0.2.0") < second.index("## 0.1.0")


def test_refuses_a_version_that_is_there_already(project: Path) -> None:
    fragment = add(project, "1.added.md", "One.")
    first = changelog.with_release(EMPTY, "0.1.0", DAY, [fragment])
    with pytest.raises(SystemExit, match=r"0\.1\.0"):
        changelog.with_release(first, "0.1.0", DAY, [fragment])


def test_removes_the_fragments_it_joined_and_keeps_the_readme(project: Path) -> None:
    add(project, "1.added.md", "One.")
    assert changelog.main(["0.1.0"]) == 0
    assert [path.name for path in (project / "changelog.d").iterdir()] == ["README.md"]
    assert "- One." in (project / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(("name", "text"), [("1.improved.md", "One."), ("1.added.md", " \n")])
def test_touches_nothing_when_a_fragment_is_wrong(project: Path, name: str, text: str) -> None:
    fragment = add(project, name, text)
    assert changelog.main(["0.1.0"]) == 1
    assert fragment.exists()
    assert (project / "CHANGELOG.md").read_text() == EMPTY


def test_needs_a_version(project: Path) -> None:
    assert changelog.main(["soon"]) == 2


def test_the_fragments_of_this_project_are_well_formed() -> None:
    fragments = [path for path in (changelog.ROOT / "changelog.d").glob("*.md") if path.name != "README.md"]
    assert [problem for path in fragments if (problem := changelog.problem_with(path))] == []
