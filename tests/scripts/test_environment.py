"""When the virtual environment is good enough, and when it is made again."""

import json
import subprocess
from pathlib import Path

import pytest

from scripts import environment

PROJECT_FILES = ["pyproject.toml", *(name for names in environment.LOCKS.values() for name in names)]


class Commands:
    """Records what would be run; a `venv` command leaves a folder with a Python, as the real one does."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def __call__(self, command: list[str | Path], environment: object = None) -> None:
        self.ran.append(" ".join(map(str, command[1:])))

    def named(self, part: str) -> list[str]:
        return [command for command in self.ran if part in command]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    for name in PROJECT_FILES:
        (tmp_path / name).write_text(f"package-of-{name.removesuffix('.lock')}==1.0 \\\n")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "STAMP", tmp_path / ".venv/handrail-setup.json")
    monkeypatch.setattr(environment, "ask", lambda python, code: f"{tmp_path}/.venv 3 12")
    monkeypatch.delenv("PYTHON", raising=False)
    (tmp_path / ".venv").mkdir()
    commands = Commands()
    monkeypatch.setattr(environment, "run", commands)
    return commands


def change(name: str, text: str) -> None:
    (environment.ROOT / name).write_text(text)


class TestBringUpToDate:
    def test_installs_the_run_time_packages_and_the_project(self, commands: Commands) -> None:
        environment.main([])
        assert "requirements.lock" in commands.named("--require-hashes")[0]
        assert commands.named("--editable")
        assert not commands.named("requirements-dev.lock")

    def test_does_nothing_the_second_time(self, commands: Commands) -> None:
        environment.main(["dev"])
        commands.ran.clear()
        environment.main([])
        environment.main(["dev"])
        assert commands.ran == []
        assert environment.main(["--check", "dev"]) == 0

    def test_adds_a_set_without_installing_the_others_again(self, commands: Commands) -> None:
        environment.main([])
        commands.ran.clear()
        environment.main(["dev"])
        assert ["requirements-dev.lock" in command for command in commands.named("--require-hashes")] == [True]

    def test_follows_a_lock_that_changed(self, commands: Commands) -> None:
        environment.main(["dev"])
        commands.ran.clear()
        change("requirements-dev.lock", "another==2.0 \\\n")
        assert environment.main(["--check", "dev"]) == 1
        environment.main(["dev"])
        assert ["requirements-dev.lock" in command for command in commands.named("--require-hashes")] == [True]

    def test_removes_what_no_lock_names_any_more(self, commands: Commands) -> None:
        environment.main([])
        change("requirements.lock", "another==2.0 \\\n")
        environment.main([])
        assert [command.split()[-1] for command in commands.named("uninstall")] == ["package-of-requirements"]

    def test_keeps_what_another_installed_set_still_names(self, commands: Commands) -> None:
        change("requirements-dev.lock", "package-of-requirements==1.0 \\\n")
        environment.main(["dev"])
        change("requirements.lock", "another==2.0 \\\n")
        environment.main([])
        assert commands.named("uninstall") == []

    def test_makes_an_interrupted_environment_again(self, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(command: list[str | Path], environment: object = None) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(environment, "run", interrupt)
            with pytest.raises(KeyboardInterrupt):
                environment.main([])
        assert environment.main(["--check"]) == 1
        environment.main([])
        assert commands.named("-m venv")

    def test_makes_an_environment_again_that_was_moved(self, commands: Commands) -> None:
        environment.main([])
        stamp = json.loads(environment.STAMP.read_text())
        environment.STAMP.write_text(json.dumps(stamp | {"root": "elsewhere"}))
        commands.ran.clear()
        environment.main([])
        assert commands.named("-m venv")

    def test_makes_an_environment_again_whose_python_is_gone(
        self, commands: Commands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = iter([None, "", None, ""])
        monkeypatch.setattr(environment, "ask", lambda python, code: next(answers))
        environment.main([])
        assert commands.named("-m venv")

    def test_uses_the_python_that_was_asked_for(self, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
        environment.main([])
        monkeypatch.setenv("PYTHON", "a chosen one")
        monkeypatch.setattr(environment, "ask", lambda python, code: f"{environment.VENV} 3 10")
        commands.ran.clear()
        environment.main([])
        assert commands.named("-m venv")

    def test_refuses_a_set_that_does_not_exist(self, commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            environment.main(["devel"])
        assert "'devel'" in capsys.readouterr().err


class TestRequireEnsurepip:
    @pytest.fixture(autouse=True)
    def _without_ensurepip(self, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "ask", lambda python, code: None)

    def test_names_the_command_when_it_may_not_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment.os, "geteuid", lambda: 1000)
        with pytest.raises(SystemExit, match="sudo apt-get update && sudo apt-get install -y python3"):
            environment.require_ensurepip()

    def test_installs_it_as_root(self, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment.os, "geteuid", lambda: 0)
        monkeypatch.setattr(environment.shutil, "which", lambda name: f"/usr/bin/{name}")
        with pytest.raises(SystemExit, match="ensurepip is missing"):
            environment.require_ensurepip()
        assert [command.split()[0] for command in commands.ran] == ["update", "install"]


class TestFindPython:
    SCRIPT = Path(__file__).parents[2] / "scripts/find-python"

    def fake(self, folder: Path, name: str, version: str) -> None:
        """A Python that only knows its version."""
        major, minor = version.split(".")
        supported = (3, 11) <= (int(major), int(minor)) <= (3, 14)
        body = f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}.0" && exit 0\nexit {int(not supported)}\n'
        (folder / name).write_text(body)
        (folder / name).chmod(0o755)

    def find(self, folder: Path) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(folder)}
        return subprocess.run(["/bin/sh", self.SCRIPT], env=environ, capture_output=True, text=True, check=False)

    def test_takes_the_newest_that_is_supported(self, tmp_path: Path) -> None:
        self.fake(tmp_path, "python3", "3.15")
        self.fake(tmp_path, "python3.11", "3.11")
        self.fake(tmp_path, "python3.13", "3.13")
        assert self.find(tmp_path).stdout.strip() == str(tmp_path / "python3.13")

    def test_says_what_it_found_when_all_are_too_old(self, tmp_path: Path) -> None:
        self.fake(tmp_path, "python3", "3.9")
        found = self.find(tmp_path)
        assert found.returncode == 1
        assert "needs Python 3.11 to 3.14" in found.stderr
        assert "python3 is Python 3.9.0" in found.stderr

    def test_says_what_to_install_when_there_is_none(self, tmp_path: Path) -> None:
        found = self.find(tmp_path)
        assert found.returncode == 1
        assert "PYTHON=" in found.stderr
