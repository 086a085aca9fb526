"""The stream that log lines are written to. Fails open: what can't be written is counted, and fails nobody's work."""

from typing import TextIO

from handrail.core import json


class Lines:
    """A text stream whose `write` and `flush` never raise, over one that may: a full disk, a reader that has gone.

    How many lines it did not take is said in a line of its own, as soon as it takes one again.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lost = 0

    def write(self, text: str) -> int:
        try:
            if self._lost:
                self._out.write(self._summary())
                self._lost = 0
            return self._out.write(text)
        except (OSError, ValueError):
            self._lost += 1
            return 0

    def flush(self) -> None:
        try:
            self._out.flush()
        except (OSError, ValueError):
            # The buffer keeps what it could not hand on, and the next write tells.
            return

    def _summary(self) -> str:
        return json.dumps({"event": "log lines could not be written", "level": "warning", "lines": self._lost}) + "\n"
