"""JSON Lines from a file or standard input, row by row as they arrive, so that a program may ask line by line."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from handrail.core.errors import UsageError

Row = TypeVar("Row")


def read_rows(data: Path | None, parse: Callable[[str, object], Row]) -> Iterator[Row]:
    """What `parse(where, value)` makes of every line that is not blank.

    Raises:
        UsageError: the file can't be read, or a line is not JSON; the message names the line.
    """
    from handrail.core.json import loads

    name = str(data) if data else "standard input"
    try:
        with data.open("rb") if data else nullcontext(sys.stdin.buffer) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    value = loads(line)
                except ValueError as error:
                    raise UsageError(f"{name}:{number}: not JSON ({error}); write one object a line") from error
                yield parse(f"{name}:{number}", value)
    except OSError as error:
        raise UsageError(f"{name} can't be read ({error.strerror}); give the path of a JSON Lines file") from error
