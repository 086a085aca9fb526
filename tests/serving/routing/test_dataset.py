from pathlib import Path

import pytest

from handrail.serving.routing.dataset import DataUnreadable, read_examples, split
from handrail.serving.routing.training import Example


def written(folder: Path, text: str, name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


class TestReadExamples:
    def test_several_files_are_one_set_and_blank_lines_are_skipped(self, tmp_path: Path) -> None:
        first = written(tmp_path, '{"text": "a b", "intent": "x"}\n\n', "1.jsonl")
        second = written(tmp_path, '{"text": "c\u2028d", "intent": "oos", "more": 1}', "2.jsonl")

        rows = read_examples([first, second])

        assert rows == [Example("a b", "x"), Example("c\u2028d", "oos")]
        assert split(rows) == ([Example("a b", "x")], ["c\u2028d"])

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{text}", r"data\.jsonl:2: '\{text\}' is not JSON"),
            ('["a", "b"]', r"data\.jsonl:2: \['a', 'b'\] is not an object; write"),
            ('{"text": "a"}', r"data\.jsonl:2: 'intent' is missing; write"),
            ('{"intent": "a"}', r"data\.jsonl:2: 'text' is missing; write"),
            ('{"text": 7, "intent": "a"}', r"data\.jsonl:2: 'text' is 7 and must be a text"),
            ('{"text": "a", "intent": " "}', r"data\.jsonl:2: 'intent' is ' ' and must be a text"),
        ],
    )
    def test_a_bad_row_is_named_with_file_line_and_mend(self, tmp_path: Path, line: str, message: str) -> None:
        path = written(tmp_path, '{"text": "a", "intent": "x"}\n' + line + "\n")

        with pytest.raises(DataUnreadable, match=message):
            read_examples([path])

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataUnreadable, match=r"none\.jsonl can't be read \(No such file"):
            read_examples([tmp_path / "none.jsonl"])

    def test_another_encoding_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "latin.jsonl"
        path.write_bytes('{"text": "café", "intent": "x"}'.encode("latin-1"))

        with pytest.raises(DataUnreadable, match="is not UTF-8"):
            read_examples([path])
