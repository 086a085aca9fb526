import gc
import sys
import threading
import traceback
from collections.abc import Iterator

import pytest

from handrail.core.documents import ProjectError
from handrail.delivery.releases import Loader, Sources


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Loaders of other tests, in this process, let go when they are collected; the rest is not looked at again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def loader() -> Iterator[Loader]:
    """A loader that must have let go of everything by the end of the test."""
    before = list(sys.meta_path)
    yield Loader()
    gc.collect()
    assert loaded() == []
    assert sys.meta_path == before


def loaded() -> list[str]:
    return [name for name in sys.modules if name.startswith("handrail_release_")]


def snapshot(**files: str) -> Sources:
    return Sources({f"{name.replace('__', '/')}.py": text.encode() for name, text in files.items()})


def problem(loader: Loader, sources: Sources) -> str:
    with pytest.raises(ProjectError) as error:
        loader.load(sources)
    return str(error.value)


class TestLoad:
    def test_runs_the_snapshot_and_lets_its_files_import_each_other(self, loader: Loader):
        sources = snapshot(
            tools="from .shop import price\nfrom .lib.tax import add\n\ndef total(): return add(price())",
            shop="def price(): return 10",
            lib__tax="from ..shop import price\n\ndef add(x): return x + price() / 10",
        )
        package = loader.load(sources)
        assert package.tools is not None
        assert package.tools.total() == 11

    def test_puts_nothing_into_sys_modules_under_a_bare_name(self, loader: Loader):
        before = set(sys.modules)
        package = loader.load(snapshot(tools="from . import shop", shop="x = 1"))
        new = set(sys.modules) - before
        assert {package.name, f"{package.name}.tools", f"{package.name}.shop"} == new

    def test_keeps_releases_of_one_agent_apart(self, loader: Loader):
        old = loader.load(snapshot(tools="from .shop import price\nstate = []", shop="price = 1"))
        new = loader.load(snapshot(tools="from .shop import price\nstate = []", shop="price = 2"))
        assert old.tools is not None
        assert new.tools is not None
        old.tools.state.append("old")
        assert (old.tools.price, new.tools.price, new.tools.state) == (1, 2, [])

    def test_gives_the_same_package_for_the_same_snapshot(self, loader: Loader):
        sources = snapshot(tools="state = []")
        assert loader.load(sources) is loader.load(Sources(dict(sources.files)))

    def test_gives_the_same_package_to_threads_that_come_together(self, loader: Loader):
        sources = snapshot(tools="import time\ntime.sleep(0.02)")
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(loader.load(sources))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert len({id(each) for each in found}) == 1

    def test_has_no_tools_for_a_project_without_any(self, loader: Loader):
        assert loader.load(snapshot(shop="x = 1")).tools is None

    def test_does_not_run_files_that_nothing_imports(self, loader: Loader):
        loader.load(snapshot(tools="", seed="raise SystemExit('ran')"))

    def test_lets_a_function_import_a_sibling_when_it_is_called(self, loader: Loader):
        package = loader.load(snapshot(tools="def f():\n    from .shop import x\n    return x", shop="x = 1"))
        assert package.tools is not None
        assert package.tools.f() == 1

    def test_shows_the_source_lines_in_a_traceback(self, loader: Loader):
        tools = loader.load(snapshot(tools="def fail():\n    raise ValueError('x')  # the line\n")).tools
        assert tools is not None
        with pytest.raises(ValueError, match="x") as error:
            tools.fail()
        shown = "".join(traceback.format_exception(error.value))
        assert "raise ValueError('x')  # the line" in shown


class TestRelease:
    def test_is_unloaded_when_nobody_holds_it_any_more(self, loader: Loader):
        package = loader.load(snapshot(tools="from . import shop", shop="x = 1"))
        assert len(loaded()) == 3
        del package
        assert loaded() == []

    def test_dropped_while_another_is_imported_is_swept_before_the_next_import(self, loader: Loader):
        sources = snapshot(tools="x = 1")
        held = [loader.load(sources)]
        with loader._lock:  # pyright: ignore
            dropping = threading.Thread(target=held.clear)
            dropping.start()
            dropping.join()
        assert loaded() != []
        new = loader.load(sources)
        assert sys.modules[f"{new.name}.tools"] is new.tools

    def test_of_two_tenants_shares_no_state(self, loader: Loader):
        sources = snapshot(tools="state = []")
        ours, theirs = loader.load(sources), loader.load(sources, "other")
        assert ours.tools is not None
        assert theirs.tools is not None
        ours.tools.state.append(1)
        assert theirs.tools.state == []


class TestProblems:
    @pytest.mark.parametrize(
        ("line", "mend"),
        [
            ("import shop", "from . import shop"),
            ("from shop import price, tax", "from .shop import price, tax"),
            ("import lib.tax", "from .lib import tax"),
            ("from lib.tax import add", "from .lib.tax import add"),
            ("__import__('shop')", "from . import shop"),
            ("importlib.import_module('lib.tax')", "from .lib import tax"),
        ],
    )
    def test_an_absolute_import_of_a_project_file_is_named_with_its_mend(self, loader: Loader, line: str, mend: str):
        said = problem(loader, snapshot(tools=f"x = 1\n\ndef f():\n    {line}\n", shop="", lib__tax=""))
        assert said.startswith("tools.py:4: ")
        assert said.endswith(f"write {mend!r}")

    def test_an_absolute_import_in_a_subfolder_gets_one_dot_more(self, loader: Loader):
        assert "write 'from ..shop import x'" in problem(loader, snapshot(shop="", lib__tax="from shop import x"))

    def test_a_project_file_named_like_the_standard_library_is_pointed_out(self, loader: Loader):
        said = problem(loader, snapshot(tools="import calendar", calendar=""))
        assert "rename 'calendar' if you mean the standard library" in said

    def test_all_absolute_imports_are_listed(self, loader: Loader):
        said = problem(loader, snapshot(tools="import shop\nimport shop", shop="import tools"))
        assert [line.split(": ")[0] for line in said.splitlines()] == ["shop.py:1", "tools.py:1", "tools.py:2"]

    def test_a_syntax_error_is_named_in_any_file(self, loader: Loader):
        assert problem(loader, snapshot(tools="", seed="x = 1\ndef (")).startswith(
            "seed.py:2: this is not valid Python"
        )

    def test_an_exception_at_import_is_named_with_the_projects_own_line(self, loader: Loader):
        said = problem(loader, snapshot(tools="from . import shop", shop="import json\n\njson.loads('{')"))
        assert said.startswith("shop.py:3: can't be imported: JSONDecodeError")

    def test_leaving_the_process_at_import_is_a_problem_too(self, loader: Loader):
        assert problem(loader, snapshot(tools="raise SystemExit(2)")).startswith("tools.py:1: can't be imported")

    def test_a_missing_sibling_and_a_missing_package_are_told_apart(self, loader: Loader):
        assert "the project has no 'lib/tax.py'" in problem(
            loader, snapshot(tools="from .lib.tax import add", lib__x="")
        )
        assert "install 'no_such_thing'" in problem(loader, snapshot(tools="import no_such_thing.deep"))

    def test_asking_for_the_file_on_disk_is_explained(self, loader: Loader):
        assert "a release runs from a snapshot" in problem(loader, snapshot(tools="print(__file__)"))

    def test_a_failed_import_leaves_nothing_behind(self, loader: Loader):
        sources = snapshot(tools="from . import shop\nraise ValueError", shop="")
        problem(loader, sources)
        assert loaded() == []
        assert problem(loader, sources).startswith("tools.py:2")
