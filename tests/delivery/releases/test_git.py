import shutil
import subprocess
from pathlib import Path

import pytest

from handrail.delivery.releases import GitState, git_state

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "agent.yaml").write_text("name: shop\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "project")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", "First")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


class TestGitState:
    @needs_git
    def test_knows_the_commit_of_a_clean_folder(self, repository: Path):
        assert git_state(repository) == GitState(git(repository, "rev-parse", "HEAD"), dirty=False)

    @needs_git
    def test_sees_changes_in_the_folder_and_not_beside_it(self, repository: Path):
        (repository.parent / "other.txt").write_text("x")
        assert git_state(repository).dirty is False
        (repository / "new.md").write_text("x")
        assert git_state(repository).dirty is True

    @needs_git
    def test_knows_nothing_outside_a_repository(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        assert git_state(tmp_path) == GitState(None, None)

    def test_knows_nothing_without_git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert git_state(tmp_path) == GitState(None, None)

    def test_does_not_wait_for_a_git_that_hangs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def hang(*_: object, **__: object) -> None:
            raise subprocess.TimeoutExpired("git", 5)

        monkeypatch.setattr(subprocess, "run", hang)
        assert git_state(tmp_path) == GitState(None, None)
