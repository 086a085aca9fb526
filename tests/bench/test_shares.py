from pathlib import Path

import pytest

import handrail
from bench.rails import RAILS, rail_of, rail_of_stack
from bench.results import FLOOR, HANDRAIL, Results
from bench.shares import SHARE, share_table


class TestRailOf:
    def test_every_file_of_handrail_belongs_to_one(self) -> None:
        files = Path(handrail.__file__).parent.rglob("*.py")
        assert {rail_of(str(file)) for file in files} == set(RAILS) - {"background"}

    @pytest.mark.parametrize(
        ("path", "rail"),
        [
            ("/x/handrail/serving/routing/head.py", "routing"),
            ("/x/handrail/flows/turn.py", "spine"),
            ("/x/handrail/flows/journal.py", "durability"),
            ("/x/handrail/http/guard.py", "security"),
            ("/x/handrail/http/sse.py", "floor"),
            ("/x/handrail/telemetry/metrics.py", "insight"),
            ("/x/site-packages/uvicorn/server.py", "floor"),
            ("/x/site-packages/numpy/linalg.py", None),
        ],
    )
    def test_is_the_rail_that_the_file_works_for(self, path: str, rail: str | None) -> None:
        assert rail_of(path) == rail


class TestRailOfStack:
    @pytest.mark.parametrize(
        ("paths", "rail"),
        [
            (["/x/json.py", "/x/handrail/flows/turn.py", "/x/uvicorn/server.py"], "spine"),
            (["/x/handrail/db/sqlite.py", "/x/handrail/flows/journal.py"], "floor"),
            (["/x/handrail/db/sqlite.py", "/x/handrail/flows/rollup.py", "/x/handrail/flows/keepers.py"], "background"),
            (["/x/handrail/insight/traces/writer.py", "/x/handrail/flows/keepers.py"], "background"),
            (["/x/handrail/insight/traces/writer.py", "/x/handrail/flows/turn.py"], "insight"),
            (["/x/handrail/flows/leases.py", "/x/handrail/flows/keepers.py"], "durability"),
            ([], "floor"),
        ],
    )
    def test_is_that_of_the_innermost_file_unless_it_works_in_the_background(self, paths: list[str], rail: str) -> None:
        assert rail_of_stack(paths) == rail


class TestShareTable:
    def test_adds_up_the_rails_in_milliseconds_and_in_floors(self) -> None:
        results = Results()
        for rail in RAILS:
            results.add(f"{SHARE}60 characters: {rail}", HANDRAIL, 1.0)
            results.add(f"{SHARE}60 characters: {rail}", FLOOR, 2.0)

        lines = share_table(results).splitlines()

        assert lines[3].startswith("| routing and spine | 2.00 | 1.00 |")
        assert lines[-1].startswith("| together | 7.00 | 3.50 |")
        assert lines[-1].endswith("| 3.4 | 2.83 |")

    def test_is_empty_when_nothing_was_measured(self) -> None:
        assert share_table(Results()) == ""
