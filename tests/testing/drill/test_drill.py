"""The fault matrix: every cell comes out as declared, and a deviation is told."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from handrail.testing.drill import COMPONENTS, FAULTS, MATRIX, Cell, CellResult, Report, drill

SERVERS = ("database_postgresql", "valkey")


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """The faults are meant, and a coloured traceback of each takes longer than the cell."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def report(quiet: None) -> Report:
    return asyncio.run(drill())


def found(report: Report, cell: Cell) -> CellResult:
    return next(each for each in report.cells if each.cell == cell)


class TestMatrix:
    def test_has_a_cell_for_every_component_and_fault(self) -> None:
        assert [(cell.component, cell.fault) for cell in MATRIX] == [(one, two) for one in COMPONENTS for two in FAULTS]

    def test_says_of_every_cell_that_is_not_run_why(self) -> None:
        assert all((cell.expected is None) == bool(cell.why_not) for cell in MATRIX)

    def test_never_answers_a_write_from_elsewhere(self) -> None:
        writes = [cell.expected for cell in MATRIX if cell.component.endswith("write")]
        assert not {"secondary", "cached"} & set(writes)


@pytest.mark.parametrize(
    "cell", [cell for cell in MATRIX if cell.expected and cell.component not in SERVERS], ids=lambda c: c.name
)
def test_cell_comes_out_as_declared(report: Report, cell: Cell) -> None:
    result = found(report, cell)
    assert result.problems == ()
    assert result.observed == cell.expected


@pytest.mark.postgres
def test_cells_of_postgresql_come_out_as_declared(blank_postgres_url: str) -> None:
    report = asyncio.run(drill(["database_postgresql"], database_url=blank_postgres_url))
    assert {each.cell.name: (each.observed, each.problems) for each in report.cells} == {
        each.cell.name: (each.cell.expected, ()) for each in report.cells
    }


def test_the_page_of_the_matrix_is_the_matrix() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/drill.md").read_text()
    for fault in FAULTS:
        outcomes = [cell.expected or "-" for cell in MATRIX if cell.fault == fault]
        assert f"| `{fault}` | {' | '.join(outcomes)} |" in text
    for name, what in (*COMPONENTS.items(), *FAULTS.items()):
        assert f"| `{name}` | {what} |" in text


def test_cells_of_valkey_come_out_as_declared(valkey_url: str) -> None:
    report = asyncio.run(drill(["valkey"], valkey_url=valkey_url))
    assert {each.cell.name: (each.observed, each.problems) for each in report.cells} == {
        each.cell.name: (each.cell.expected, ()) for each in report.cells
    }


class TestReport:
    def test_tells_what_was_not_run_and_why(self, report: Report) -> None:
        record = report.as_record()
        (cell,) = [
            each for each in record["cells"] if (each["component"], each["fault"]) == ("database_postgresql", "down")
        ]
        assert (cell["ok"], cell["observed"]) == (None, None)
        assert "--database-url" in cell["why_not"]
        assert record["run"] == sum(each.observed is not None for each in report.cells)

    @pytest.mark.parametrize(
        "result",
        [
            CellResult(Cell("read_tool", "down", "secondary"), "honest"),
            CellResult(Cell("read_tool", "down", "secondary"), "secondary", ("the user was told nothing",)),
            CellResult(Cell("read_tool", "down", "secondary"), None, ("the turn did not end",)),
        ],
    )
    def test_counts_another_outcome_and_a_broken_promise_as_deviations(self, result: CellResult) -> None:
        report = Report([result, CellResult(Cell("read_tool", "reset", "secondary"), "secondary")], 1.0)
        assert report.deviations == [result]
        assert report.as_record()["deviations"] == 1
        assert report.as_record()["cells"][0]["ok"] is False
