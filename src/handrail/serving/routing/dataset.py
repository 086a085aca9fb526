"""JSON Lines of labelled texts: `{"text": ..., "intent": ...}`, where intent `oos` marks text out of scope."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from handrail.core.errors import UsageError
from handrail.core.json import loads
from handrail.serving.routing.evaluation import OUT_OF_SCOPE
from handrail.serving.routing.training import Example

_SHAPE = '{"text": "where is my order", "intent": "order_status"}'


class DataUnreadable(UsageError):
    """A row can't be used; the message names file, line and mend."""

    code = "intent_data_unreadable"


def read_examples(paths: Iterable[Path]) -> list[Example]:
    """All rows of all files, in order; blank lines are skipped."""
    return [_example(where, row) for path in paths for where, row in _rows(path)]


def split(examples: Iterable[Example]) -> tuple[list[Example], list[str]]:
    """Rows of intents, and the texts that are out of scope."""
    rows = list(examples)
    inside = [row for row in rows if row.intent != OUT_OF_SCOPE]
    return inside, [row.text for row in rows if row.intent == OUT_OF_SCOPE]


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataUnreadable(f"{path} can't be read ({error.strerror}); give the path of a JSON Lines file") from error
    except UnicodeDecodeError as error:
        raise DataUnreadable(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    # Not splitlines(): it also cuts at separators that may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", parse_row(f"{path}:{number}", line)


def parse_row(where: str, line: str | bytes) -> Any:
    """The JSON of one line, or an error that says `where`."""
    try:
        return loads(line)
    except ValueError as error:
        raise DataUnreadable(f"{where}: {line[:60]!r} is not JSON ({error}); write one object a line") from error


def _example(where: str, row: Any) -> Example:
    if not isinstance(row, dict):
        raise DataUnreadable(f"{where}: {row!r} is not an object; write {_SHAPE}")
    return Example(_text(where, row, "text"), _text(where, row, "intent"))


def _text(where: str, row: dict[str, Any], key: str) -> str:
    if key not in row:
        raise DataUnreadable(f"{where}: {key!r} is missing; write {_SHAPE}")
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise DataUnreadable(f"{where}: {key!r} is {value!r} and must be a text that is not empty; write {_SHAPE}")
    return value
