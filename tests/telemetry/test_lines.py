import io
import json
import logging

import pytest

from handrail.telemetry.lines import Lines


class Full(io.StringIO):
    """A file on a disk that may take nothing."""

    error: Exception | None = None

    def write(self, text: str, /) -> int:
        if self.error:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        if self.error:
            raise self.error


@pytest.mark.parametrize("error", [OSError(28, "No space left"), BrokenPipeError(), ValueError("closed file")])
def test_a_line_that_cannot_be_written_fails_nobody_and_is_counted_once_there_is_room(error: Exception):
    out = Full()
    lines = Lines(out)
    lines.write("one\n")
    out.error = error
    for line in ("two\n", "three\n"):
        lines.write(line)
        lines.flush()
    out.error = None
    lines.write("four\n")
    lines.write("five\n")
    first, lost, *last = out.getvalue().splitlines()
    assert (first, last) == ("one", ["four", "five"])
    assert json.loads(lost) == {"event": "log lines could not be written", "level": "warning", "lines": 2}


def test_a_handler_of_a_library_writes_through_it():
    out = Full()
    handler = logging.StreamHandler(Lines(out))
    record = logging.LogRecord("name", logging.INFO, "", 0, "said", None, None)
    handler.handle(record)
    out.error = OSError(28, "No space left")
    handler.handle(record)
    out.error = None
    handler.handle(record)
    assert out.getvalue().count("said") == 2
