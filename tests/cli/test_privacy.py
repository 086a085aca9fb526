"""`handrail privacy` reads and writes JSON lines."""

import json
from pathlib import Path

from typer.testing import CliRunner

from handrail.cli.app import app

ROWS = (
    {"id": "a", "text": "9999", "previous": "last four of your SSN?", "spans": [[0, 4, "SSN"]]},
    {"id": 2, "text": "where is order 4896585277?", "spans": []},
)


def _written(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


class TestScan:
    def test_answers_every_line_in_order_with_its_id(self, tmp_path: Path) -> None:
        told = CliRunner().invoke(app, ["privacy", "scan", str(_written(tmp_path))])

        assert [json.loads(line) for line in told.stdout.splitlines()] == [
            {"id": "a", "spans": [[0, 4, "SSN", 0.9]]},
            {"id": 2, "spans": []},
        ]

    def test_reads_standard_input(self) -> None:
        told = CliRunner().invoke(app, ["privacy", "scan"], input='{"id": 1, "text": "a@example.com"}\n\n')

        assert json.loads(told.stdout) == {"id": 1, "spans": [[0, 13, "EMAIL", 0.99]]}

    def test_names_the_line_that_is_not_json(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        path.write_text('{"text": "hi"}\n{oops\n')

        told = CliRunner().invoke(app, ["privacy", "scan", str(path)])

        assert told.exit_code != 0
        assert f"{path}:2" in str(told.exception)


class TestEval:
    def test_prints_shares_intervals_and_times_as_json(self, tmp_path: Path) -> None:
        told = json.loads(CliRunner().invoke(app, ["privacy", "eval", str(_written(tmp_path)), "--json"]).stdout)

        assert told["recall"]["share"] == 1.0
        assert told["clean_flagged"] == {
            "count": 0,
            "n": 1,
            "share": 0.0,
            "interval": told["clean_flagged"]["interval"],
        }
        assert told["types"]["SSN"]["precision"]["n"] == 1
        assert told["p50_ms"] <= told["p95_ms"]

    def test_prints_a_table(self, tmp_path: Path) -> None:
        told = CliRunner().invoke(app, ["privacy", "eval", str(_written(tmp_path))])

        assert "recall         1.000" in told.stdout
