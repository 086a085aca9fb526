"""Import a release's code from its snapshot, as a package of its own.

The package is called `handrail_release_<digest>`, so several releases of one agent live in one process and nothing
of a project stands in `sys.modules` under a bare name. Third-party packages are the process's own.
"""

import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from handrail.core.documents import Problem, ProjectError
from handrail.delivery.releases.imports import check_imports
from handrail.delivery.releases.sources import Sources

PREFIX: Final = "handrail_release_"
DEFAULT_TENANT: Final = "default"


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LoadedPackage:
    """One release's code: `tools.py` and whatever it imports. It stays loaded for as long as this object is held."""

    name: str
    digest: str
    tools: ModuleType | None


class Loader:
    """The releases whose code this process holds. One loader a process: `sys.modules` is one as well."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._finder = _Finder()
        self._packages: weakref.WeakValueDictionary[str, LoadedPackage] = weakref.WeakValueDictionary()
        self._dropped: deque[Sources] = deque()

    def load(self, sources: Sources, tenant_id: str = DEFAULT_TENANT) -> LoadedPackage:
        """Import `tools.py` from the snapshot; while it is held, the same snapshot is imported once a tenant.

        Raises:
            ProjectError: a file imports a sibling absolutely, is not Python, or fails while it is imported.
        """
        name = package_name(sources, tenant_id)
        with self._lock:
            self._sweep()
            held = self._packages.get(name)
            if held is not None and held.digest == sources.digest:
                return held
            problems = check_imports(sources)
            if problems:
                raise ProjectError(problems)
            return self._import(name, sources)

    def _import(self, name: str, sources: Sources) -> LoadedPackage:
        # A copy of its own, so that what is swept later is this import and not one that came after it.
        snapshot = Sources(sources.files, sources.format_version)
        self._forget(name)
        self._finder.add(name, snapshot)
        try:
            tools = importlib.import_module(f"{name}.tools") if "tools.py" in sources.files else None
        except (Exception, SystemExit) as error:
            self._forget(name)
            raise ProjectError([_problem(error, name)]) from error
        package = LoadedPackage(name, sources.digest, tools)
        self._packages[name] = package
        weakref.finalize(package, self._drop, snapshot).atexit = False
        return package

    def _drop(self, snapshot: Sources) -> None:
        # Called by the garbage collector, on any thread: waiting for the lock here could wait for ever.
        self._dropped.append(snapshot)
        if self._lock.acquire(blocking=False):
            try:
                self._sweep()
            finally:
                self._lock.release()

    def _sweep(self) -> None:
        while self._dropped:
            name = self._finder.name_of(self._dropped.popleft())
            if name is not None:
                self._forget(name)

    def _forget(self, name: str) -> None:
        self._finder.remove(name)
        for module in [each for each in list(sys.modules) if each == name or each.startswith(f"{name}.")]:
            # Another loader of this process may have had the same snapshot, and be letting go of it on another thread.
            sys.modules.pop(module, None)


def package_name(sources: Sources, tenant_id: str = DEFAULT_TENANT) -> str:
    """Two tenants with the same project share no module: what a tool keeps in a global stays with its tenant."""
    name = PREFIX + sources.digest[:16]
    return name if tenant_id == DEFAULT_TENANT else f"{name}_{hashlib.sha256(tenant_id.encode()).hexdigest()[:16]}"


def project_path(filename: str) -> str:
    """The project's own path of a file in a traceback; other file names are returned as they are."""
    package, _, path = filename.partition("/")
    return path if path and package.startswith(PREFIX) else filename


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of loaded snapshots. It joins `sys.meta_path` with the first of them."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Sources] = {}

    def add(self, package: str, sources: Sources) -> None:
        self._snapshots[package] = sources
        if self not in sys.meta_path:
            sys.meta_path.append(self)

    def remove(self, package: str) -> None:
        self._snapshots.pop(package, None)
        if not self._snapshots and self in sys.meta_path:
            sys.meta_path.remove(self)

    def name_of(self, snapshot: Sources) -> str | None:
        """The package that was imported from this very object, if it still is."""
        return next((name for name, each in self._snapshots.items() if each is snapshot), None)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, rest = fullname.partition(".")
        sources = self._snapshots.get(package)
        if sources is None:
            return None
        within = rest.replace(".", "/")
        as_package = f"{within}/__init__.py" if within else "__init__.py"
        if not within or as_package in sources.files or any(each.startswith(f"{within}/") for each in sources.python()):
            # A folder of modules needs no __init__.py, and neither does the project itself.
            return _spec(fullname, f"{package}/{as_package}", sources.files.get(as_package, b""), is_package=True)
        if f"{within}.py" in sources.files:
            return _spec(fullname, f"{package}/{within}.py", sources.files[f"{within}.py"], is_package=False)
        return None


def _spec(name: str, filename: str, source: bytes, *, is_package: bool) -> importlib.machinery.ModuleSpec | None:
    loader = _SnapshotLoader(filename, source)
    return importlib.util.spec_from_loader(name, loader, origin=filename, is_package=is_package)


class _SnapshotLoader(importlib.abc.InspectLoader):
    """One module from the snapshot's bytes. There is no `__file__`: what lies on disk is not what runs."""

    def __init__(self, filename: str, source: bytes) -> None:
        self._filename = filename
        self._source = source

    def is_package(self, fullname: str) -> bool:
        return self._filename.endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:
        # Tracebacks ask here for the lines they show.
        return importlib.util.decode_source(self._source)

    def get_code(self, fullname: str):
        return compile(self._source, self._filename, "exec", dont_inherit=True)


def _problem(error: BaseException, package: str) -> Problem:
    """The innermost place of the project's own code that the exception went through."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith(f"{package}/")]
    if not frames:
        return Problem("tools.py", 0, _why(error))
    return Problem(project_path(frames[-1].filename), frames[-1].lineno or 0, _why(error))


def _why(error: BaseException) -> str:
    text = f"can't be imported: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith(PREFIX):
        path = (error.name or "").partition(".")[2].replace(".", "/")
        return f"can't be imported: the project has no {path + '.py'!r}; create it or mend the import"
    if isinstance(error, NameError) and error.name == "__file__":
        return f"{text}; a release runs from a snapshot, so read data from Python modules or a path in a setting"
    if isinstance(error, ModuleNotFoundError):
        return f"{text}; install {(error.name or '').partition('.')[0]!r} beside handrail"
    return text
