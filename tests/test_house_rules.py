"""The rules of the house that a machine can check, over every file that is, or would be, committed."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src/handrail"
WINGS = ("serving", "protection", "oversight", "delivery", "insight")
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-dev.lock", "requirements-bench.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Written in parts, so that this file keeps its own rules.
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "registry.npm" + "js", "registry.yarn" + "pkg")
PATHS_OF_ONE_MACHINE = re.compile(
    r"(?<![\w./~$}-])/(?:work|root|home|Users)/\w|/opt/(?:pypi|wheels)|" + r"\.lib" + "rary/"
)
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def test_every_table_says_how_long_its_rows_are_kept() -> None:
    """By a setting, by an end of their own, or for good and why: `flows/kept.py` is the list."""
    from handrail.flows.data_classes import DATA_CLASSES
    from handrail.flows.kept import ENDS, KEPT
    from handrail.settings import RetentionSettings

    assert sorted(KEPT) == sorted(DATA_CLASSES)
    said = {name for name, kept in KEPT.items() if not kept.startswith(ENDS)}
    assert {KEPT[name] for name in said} <= set(RetentionSettings.model_fields)


@cache
def committed_files() -> tuple[Path, ...]:
    """What git keeps or would keep; in an unpacked copy without git, what is not hidden."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        found = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
        names = found.stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
        names = [
            name
            for name in names
            if not any(part.startswith(".") or part == "__pycache__" for part in Path(name).parts)
        ]
    return tuple(sorted(ROOT / name for name in names if (ROOT / name).is_file()))


@cache
def text_files() -> dict[Path, str]:
    texts: dict[Path, str] = {}
    for path in committed_files():
        try:
            texts[path] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return texts


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    wanted = tuple(ROOT / folder for folder in folders)
    for path, text in text_files().items():
        if path.suffix == ".py" and any(folder in path.parents for folder in wanted):
            yield path, ast.parse(text, filename=str(path))


def imported_packages(tree: ast.Module) -> set[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.append(node.module)
    return {name.partition(".")[0] for name in names}


def at(path: Path, line: int | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


def lines_matching(pattern: re.Pattern[str], files: Iterable[Path]) -> list[str]:
    return [
        f"{at(path, number)}: {line.strip()[:120]}"
        for path in files
        for number, line in enumerate(text_files()[path].splitlines(), start=1)
        if pattern.search(line)
    ]


class TestFiles:
    def test_no_file_names_a_package_registry(self) -> None:
        assert lines_matching(re.compile("|".join(map(re.escape, REGISTRY_HOSTS))), text_files()) == []

    def test_no_file_names_a_path_of_one_machine(self) -> None:
        assert lines_matching(PATHS_OF_ONE_MACHINE, text_files()) == []

    def test_no_file_leaves_work_for_later(self) -> None:
        assert lines_matching(UNFINISHED, text_files()) == []

    def test_there_is_one_kind_of_lock_file(self) -> None:
        others = {"uv.lock", "poetry.lock", "Pipfile.lock", "package-lock.json"}
        assert [at(path) for path in committed_files() if path.name in others] == []

    def test_no_asset_is_minified(self) -> None:
        """A reader, and a scanner, must be able to read what a browser is given."""
        assets = [path for path in text_files() if path.suffix in {".js", ".css"}]
        minified = [at(path) for path in assets if ".min." in path.name or longest_line(path) > 400]
        assert minified == []

    def test_trained_heads_stay_small_and_are_never_pickles(self) -> None:
        pickles = {".pkl", ".pickle", ".joblib"}
        heavy = [at(path) for path in committed_files() if path.stat().st_size > 5_000_000 or path.suffix in pickles]
        assert heavy == []


def longest_line(path: Path) -> int:
    return max((len(line) for line in text_files()[path].splitlines()), default=0)


class TestSource:
    def test_no_function_is_longer_than_a_hundred_lines(self) -> None:
        long = [
            f"{at(path, node.lineno)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
            for path, tree in modules("src", "scripts", "bench", "examples")
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno
            and node.end_lineno - node.lineno >= 100
        ]
        assert long == []

    def test_every_room_says_whether_it_fails_open_or_closed(self) -> None:
        rooms = [room for wing in WINGS for room in sorted((SOURCE / wing).glob("*/__init__.py"))]
        silent = [at(room) for room in rooms if not re.search(r"(?i)\b(open|closed)\b", docstring(room))]
        assert rooms
        assert silent == [], "the docstring of a room names its promise, where it acts, and open or closed"

    def test_every_module_says_what_it_is_for(self) -> None:
        assert [at(path) for path, tree in modules("src", "scripts", "bench") if not ast.get_docstring(tree)] == []

    def test_web_frameworks_are_known_to_http_and_console_only(self) -> None:
        doors = {SOURCE / "http", SOURCE / "console"}
        strays = [
            at(path)
            for path, tree in modules("src")
            if imported_packages(tree) & {"fastapi", "starlette"} and not doors & set(path.parents)
        ]
        assert strays == []

    def test_tables_are_declared_in_files_named_tables(self) -> None:
        strays = [
            at(path, node.lineno)
            for path, tree in modules("src")
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and name_of(node.func) == "Table" and path.name != "tables.py"
        ]
        assert strays == []

    def test_the_word_embeddings_are_read_as_data(self) -> None:
        """Importing their package would load a web client and set up logging, and its loader differs by version."""
        assert [at(path) for path, tree in modules("src") if "wordllama" in imported_packages(tree)] == []

    def test_nothing_unpickles(self) -> None:
        loaders = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
        assert [at(path) for path, tree in modules("src") if imported_packages(tree) & loaders] == []


class TestTheWayOut:
    """Whoever connects to somewhere asks `handrail.egress` first; a new client is written over it, or argues here."""

    CLIENTS = frozenset(
        {"aiohttp", "httpx", "httpx2", "requests", "urllib3", "smtplib", "ftplib", "websockets", "apprise"}
    )
    MODULES = frozenset({"http.client", "urllib.request", "xmlrpc.client"})
    CALLS = frozenset({"create_connection", "open_connection", "getaddrinfo", "gethostbyname", "sock_connect"})
    EXCUSED = {
        "egress/resolver.py": "the list itself",
        "egress/session.py": "the list itself",
        "serving/models/connections.py": "connects to addresses from `Egress.addresses`",
        "protection/auth/signing_keys.py": "its sessions are `outbound_session`",
        "insight/traces/exporter.py": "its sessions are `outbound_session`",
        "protection/auth/oidc.py": "its sessions are `outbound_session`",
        "cli/chat.py": "a person's own command, to the address they typed",
        "cli/waiting.py": "the same session",
        "testing/fault_proxy.py": "a fault between a test and its own server",
        "insight/alerts/child.py": "behind its own border, which judges by the list whatever apprise connects to",
        "cli/local_server.py": "a command to the server of its own data folder",
    }

    def test_is_the_only_one(self) -> None:
        strays = {
            str(path.relative_to(SOURCE)): sorted(found)
            for path, tree in modules("src")
            if (found := self._connecting(tree)) and str(path.relative_to(SOURCE)) not in self.EXCUSED
        }
        assert strays == {}, "connect through handrail.egress: Egress.addresses or outbound_session"

    def test_is_taken_by_those_that_say_so(self) -> None:
        own = (
            "serving/models/connections.py",
            "protection/auth/signing_keys.py",
            "protection/auth/oidc.py",
            "insight/traces/exporter.py",
        )
        for path in own:
            assert "handrail.egress" in (SOURCE / path).read_text(), path
            assert "ClientSession(" not in (SOURCE / path).read_text(), path
        assert {path for path in self.EXCUSED if not (SOURCE / path).exists()} == set()

    def test_would_notice_a_new_client(self) -> None:
        for code in (
            "import aiohttp", "from httpx2 import get", "import urllib.request", "from urllib import request",
            "from http import client", "asyncio.open_connection(h, 1)", "loop.create_connection(p, h, 1)",
        ):  # fmt: skip
            assert self._connecting(ast.parse(code)), code

    def _connecting(self, tree: ast.Module) -> set[str]:
        called = {name_of(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)} & self.CALLS
        imported: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        return called | (imported & self.MODULES) | (imported_packages(tree) & self.CLIENTS)


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def wanted_by(lock: str) -> list[str]:
    project: list[str] = PROJECT["project"]["dependencies"]
    groups: dict[str, list[str]] = PROJECT["dependency-groups"]
    return {
        "requirements.lock": project,
        "requirements-build.lock": groups["build"],
        "requirements-dev.lock": project + groups["dev"],
        "requirements-bench.lock": project + groups["bench"],
    }[lock]


@pytest.mark.parametrize("lock", LOCKS)
class TestLocks:
    def test_every_line_is_a_pin_a_hash_or_a_comment(self, lock: str) -> None:
        """So no index address, no local path and nothing unpinned can slip in."""
        pin = re.compile(r"[a-z0-9][a-z0-9.-]*==\S+( ; [^;]+)? \\$")
        digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?$")
        lines = (ROOT / lock).read_text().splitlines()
        assert [
            line for line in lines if not (pin.match(line) or digest.match(line) or line.lstrip().startswith("#"))
        ] == []

    def test_holds_what_the_project_asks_for(self, lock: str) -> None:
        pins = locked(lock)
        requirements = [Requirement(text) for text in wanted_by(lock)]
        missing = [
            f"{requirement} but {pins.get(canonicalize_name(requirement.name))} is locked"
            for requirement in requirements
            if not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"), prereleases=True)
        ]
        assert missing == [], "run: make lock"

    def test_agrees_with_the_other_locks(self, lock: str) -> None:
        mine = locked(lock)
        theirs = locked("requirements-dev.lock" if lock != "requirements-dev.lock" else "requirements.lock")
        assert {
            name: (mine[name], theirs[name]) for name in mine.keys() & theirs.keys() if mine[name] != theirs[name]
        } == {}


def test_the_run_time_lock_is_complete() -> None:
    """It is installed without looking dependencies up again, so what a locked package needs must be locked too."""
    pins = locked("requirements.lock")
    missing = [
        f"{name} needs {text}"
        for name in pins
        if is_installed(name)
        for text in metadata.requires(name) or []
        if is_needed(Requirement(text)) and canonicalize_name(Requirement(text).name) not in pins
    ]
    assert missing == []


def is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def is_needed(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})
