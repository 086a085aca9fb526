"""Makes `.venv` from the hash-locked requirements, and does nothing when it already matches them.

Runs on the standard library alone: it is what installs everything else.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict, cast

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "handrail-setup.json"
LOCKS = {
    "runtime": ("requirements.lock", "requirements-build.lock"),
    "dev": ("requirements-dev.lock",),
    "bench": ("requirements-bench.lock",),
}
OLDEST, NEWEST = (3, 11), (3, 14)
# Not `sys.executable`, which may be the one in the very environment that is about to be made again.
BASE_PYTHON = Path(getattr(sys, "_base_executable", sys.executable))


class Stamp(TypedDict):
    """What `.venv` was made of. `finished` is false while an installation is under way."""

    finished: bool
    root: str
    project: str
    sets: dict[str, str]
    packages: list[str]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Make .venv, or bring it up to date.")
    parser.add_argument("sets", nargs="*", help="what to add to the run-time packages: dev, bench")
    parser.add_argument("--check", action="store_true", help="only say by the exit code whether .venv is up to date")
    options = parser.parse_args(arguments)
    wanted = ["runtime", *cast(list[str], options.sets)]
    if unknown := sorted(set(wanted) - LOCKS.keys()):
        parser.error(f"there is no set of packages named {unknown[0]!r}, only {', '.join(LOCKS)}")
    if options.check:
        return 0 if is_current(read_stamp(), wanted) else 1
    with Path(__file__).open() as lock:  # two `make` commands at once take turns
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = read_stamp()
        if not (is_current(stamp, wanted) and is_usable(stamp)):
            bring_up_to_date(wanted)
    return 0


def bring_up_to_date(wanted: list[str]) -> None:
    stamp = read_stamp()
    if not is_usable(stamp):
        make_venv()
        stamp = None
    before = stamp["packages"] if stamp else []
    sets = dict(stamp["sets"]) if stamp else {}
    sets |= dict.fromkeys(wanted, "")
    write_stamp(finished=False, sets={}, packages=before)
    for name in sets:
        if not stamp or stamp["sets"].get(name) != digest(LOCKS[name]):
            install_locked(LOCKS[name])
    names = locked_names(file for name in sets for file in LOCKS[name])
    remove(sorted(set(before) - names))
    install_project()
    write_stamp(finished=True, sets={name: digest(LOCKS[name]) for name in sets}, packages=sorted(names))
    say(f".venv is ready ({', '.join(sets)})")


def is_current(stamp: Stamp | None, wanted: Iterable[str]) -> bool:
    return bool(
        stamp
        and stamp["finished"]
        and stamp["root"] == str(ROOT)
        and stamp["project"] == digest(["pyproject.toml"])
        and all(stamp["sets"].get(name) == digest(LOCKS[name]) for name in wanted)
    )


def is_usable(stamp: Stamp | None) -> bool:
    """Say whether `.venv` can be added to. A half-made or moved one is made again: its scripts name their old place."""
    if stamp and (not stamp["finished"] or stamp["root"] != str(ROOT)):
        return False
    found = ask(VENV / "bin/python", "import sys, pip; print(sys.prefix, *sys.version_info[:2])")
    if found is None:
        return False
    prefix, *version = found.rsplit(maxsplit=2)
    mine = tuple(map(int, version))
    is_chosen = mine == sys.version_info[:2] if os.environ.get("PYTHON") else OLDEST <= mine <= NEWEST
    return Path(prefix) == VENV and is_chosen


def make_venv() -> None:
    say(f"making .venv with Python {sys.version.split()[0]}")
    require_ensurepip()
    if os.path.lexists(VENV):  # moved first: an interrupted installer may still be writing into it
        aside = VENV.with_name(f".venv-old-{os.getpid()}")
        VENV.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    VENV.mkdir()
    write_stamp(finished=False, sets={}, packages=[])
    run([BASE_PYTHON, "-I", "-m", "venv", VENV])


def require_ensurepip() -> None:
    """Debian and Ubuntu ship Python without the part that makes environments; root can add it, others are told how."""
    if can_make_environments():
        return
    package = debian_package()
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"this Python cannot make environments; installing {package}")
        run(["apt-get", "update", "-qq"])
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "install", "-y", "-qq", package], environment=environment)
        if can_make_environments():
            return
    raise SystemExit(
        f"{BASE_PYTHON} cannot make virtual environments: its ensurepip is missing.\n"
        f"Install it:  sudo apt-get update && sudo apt-get install -y {package}\n"
        f"then run the same command again."
    )


def can_make_environments() -> bool:
    return ask(BASE_PYTHON, "import ensurepip, venv") is not None


def debian_package() -> str:
    """The system's own Python has a package of a plain name, another Python's carries its version."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return "python3-venv" if Path("/usr/bin/python3").resolve().name == name else f"{name}-venv"


def install_locked(files: Iterable[str]) -> None:
    """Install wheels only: a source build would fetch what no lock names.

    The lock is complete, so dependencies are not looked up again; modules are compiled when first imported. Together
    that is half of the time a fresh machine takes.
    """
    names = list(files)
    say(f"installing {' and '.join(names)}")
    requirements = [part for name in names for part in ("-r", str(ROOT / name))]
    pip("install", "--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-compile", *requirements)


def install_project() -> None:
    """Install this folder in place; its build backend is already there, locked, so nothing is fetched."""
    pip("install", "--no-deps", "--no-build-isolation", "--no-index", "--editable", str(ROOT))


def remove(packages: list[str]) -> None:
    """What an earlier lock installed and none names now goes, so that nothing works here that would fail elsewhere."""
    if packages:
        say(f"removing {', '.join(packages)}")
        pip("uninstall", "--yes", *packages)


def pip(*arguments: str) -> None:
    run([VENV / "bin/python", "-I", "-m", "pip", "-qq", "--disable-pip-version-check", "--no-input", *arguments])


def ask(python: Path, code: str) -> str | None:
    """What a Python prints for this code, or nothing when it is missing, broken or fails."""
    try:
        found = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout


def run(command: list[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Run it, showing only what goes wrong."""
    finished = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if finished.returncode != 0:
        raise SystemExit(f"This command failed with exit code {finished.returncode}: {' '.join(map(str, command))}")


def digest(files: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for name in files:
        whole.update((ROOT / name).read_bytes())
    return whole.hexdigest()


def locked_names(files: Iterable[str]) -> set[str]:
    text = "".join((ROOT / name).read_text() for name in files)
    return set(re.findall(r"^([a-z0-9][a-z0-9.-]*)==", text, re.MULTILINE))


def read_stamp() -> Stamp | None:
    try:
        return cast(Stamp, json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return None


def write_stamp(*, finished: bool, sets: dict[str, str], packages: list[str]) -> None:
    stamp = Stamp(finished=finished, root=str(ROOT), project=digest(["pyproject.toml"]), sets=sets, packages=packages)
    STAMP.write_text(json.dumps(stamp, indent=1))


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
