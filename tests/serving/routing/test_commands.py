"""`handrail intents`: the commands, as a user runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from handrail.cli.intents import app
from handrail.core.errors import UsageError
from handrail.serving.routing import HeadUnreadable, IntentHead
from handrail.serving.routing.dataset import DataUnreadable
from tests.serving.routing.utterances import STRANGE, examples

run = CliRunner().invoke


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    rows = [{"text": one.text, "intent": one.intent} for one in examples()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    path = tmp_path / "oos.jsonl"
    path.write_text("".join(json.dumps({"text": text, "intent": "oos"}) + "\n" for text in STRANGE))
    return path


@pytest.fixture
def stored(tmp_path: Path, head: IntentHead) -> Path:
    path = tmp_path / "head.npz"
    path.write_bytes(head.dump())
    return path


def printed(*arguments: Any, given: str | None = None) -> str:
    result = run(app, [str(argument) for argument in arguments], input=given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


class TestTrain:
    def test_writes_a_head_that_knows_its_seed_and_says_how_good_it_is(
        self, tmp_path: Path, data: Path, strange: Path
    ) -> None:
        out = tmp_path / "head.npz"

        said = printed("train", data, strange, "--out", out, "--seed", 7)

        assert "trained on 48 examples of 4 intents" in said
        assert IntentHead.load(out.read_bytes()).facts["seed"] == 7

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(UsageError, match="can't be written"):
            printed("train", data, "--out", tmp_path / "none" / "head.npz")


class TestEval:
    def test_prints_the_promised_keys(self, stored: Path, data: Path, strange: Path) -> None:
        found = json.loads(printed("eval", stored, data, strange, "--json"))

        promised = {
            "accuracy", "ece", "accuracy_above_0_9", "coverage_above_0_9", "coverage_0_6_to_0_9", "oos_autonomous",
            "p50_ms", "p95_ms",
        }  # fmt: skip
        assert promised <= found.keys()
        assert (found["n"], found["oos_n"]) == (48, len(STRANGE))

    def test_prints_a_table(self, stored: Path, data: Path) -> None:
        said = printed("eval", stored, data)

        assert "accuracy       1.000" in said
        assert "out of scope   no such rows" in said


class TestPredict:
    def test_answers_line_by_line_from_standard_input(self, stored: Path) -> None:
        given = '{"text": "renew my books"}\n\n{"text": ""}\n'

        first, second = map(json.loads, printed("predict", stored, given=given).splitlines())

        assert first["intent"] == "renew_loan"
        assert first["confidence"] > 0.6
        assert (second["confidence"], second["out_of_scope"]) == (0, 1)

    def test_answers_from_a_file(self, stored: Path, data: Path) -> None:
        assert len(printed("predict", stored, data).splitlines()) == 48

    @pytest.mark.parametrize("line", ["[1]", '{"intent": "a"}', '{"text": 3}', "nonsense"])
    def test_a_bad_line_is_named(self, stored: Path, line: str) -> None:
        with pytest.raises(DataUnreadable, match=r"standard input:2: .*(write)"):
            printed("predict", stored, given='{"text": "a"}\n' + line)


class TestHeadFiles:
    def test_a_file_that_is_no_head_is_named(self, tmp_path: Path, data: Path) -> None:
        with pytest.raises(HeadUnreadable, match=r"data\.jsonl: these \d+ bytes are not an intent head"):
            printed("eval", data, data)

    def test_a_missing_head_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"none can't be read .* `handrail intents train` writes a head"):
            printed("predict", tmp_path / "none")
