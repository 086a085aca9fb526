import json

import pytest
from typer.testing import CliRunner

from handrail.cli.app import app
from handrail.cli.drill import page
from handrail.core.errors import UsageError
from handrail.testing.drill import Cell, CellResult, Report


class TestDrill:
    def test_prints_the_report_as_json(self):
        result = CliRunner().invoke(app, ["drill", "--component", "read_tool", "--fault", "down", "--json"])
        assert result.exit_code == 0
        report = json.loads(result.stdout)
        assert (report["run"], report["deviations"]) == (1, 0)
        (cell,) = report["cells"]
        assert (cell["expected"], cell["observed"], cell["ok"]) == ("secondary", "secondary", True)

    def test_names_the_components_when_one_is_not_known(self):
        result = CliRunner().invoke(app, ["drill", "--component", "moon"])
        assert isinstance(result.exception, UsageError)
        assert "component 'moon' is not known; the components are: model_primary" in result.exception.message


class TestPage:
    def test_shows_the_matrix_and_what_is_not_as_declared(self):
        report = Report(
            [
                CellResult(Cell("read_tool", "down", "secondary"), "honest", ("no person was told",)),
                CellResult(Cell("read_tool", "reset", "secondary"), "secondary"),
                CellResult(Cell("read_tool", "disk_full", None, "no"), None, why_not="no"),
            ],
            2.0,
        )
        lines = page(report).splitlines()
        assert [line.split() for line in lines[2:5]] == [
            ["down", "!honest"],
            ["reset", "secondary"],
            ["disk_full", "-"],
        ]
        assert "! read_tool/down: honest instead of secondary; no person was told" in lines
        assert lines[-1] == "2 cells in 2 s, 1 not as declared"

    @pytest.mark.parametrize(("observed", "shown"), [(None, "!no end"), ("honest", "!honest")])
    def test_shows_a_turn_that_did_not_end(self, observed: str | None, shown: str):
        report = Report([CellResult(Cell("read_tool", "down", "secondary"), observed, ("late",))], 1.0)
        assert shown in page(report)
