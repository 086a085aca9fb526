"""Processes of `handrail` that start in a tenth of a second: children of a nursery, which has imported everything.

What must be measured from a fresh interpreter (its memory, what it imports) is started with `subprocess` instead.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLI = "handrail.cli"
POLL_SECONDS = 0.01


class Child:
    """One process, as far as tests need `Popen`."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        with self._lock:
            if self.returncode is None:
                self.returncode = self._nursery.order(do="poll", pid=self.pid)["code"]
            return self.returncode

    def wait(self, timeout: float) -> int:
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_SECONDS)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        # Until it is asked after, a dead child keeps its number: this hits nobody else.
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks them; see `nursery.py`."""

    def __init__(self) -> None:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | threads, text=True,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._heard()

    def start(
        self, *arguments: str, home: Path, env: Mapping[str, str], stdout: Path, stderr: Path, program: str = CLI
    ) -> Child:
        """`python -m PROGRAM ARGUMENTS`, or of a file, in `home`; what it says is appended to the two files."""
        for file in (stdout, stderr):
            # There at once, for who looks before the child has opened it.
            file.touch(mode=0o600)
        order = {"arguments": arguments, "home": str(home), "env": dict(env), "program": program}
        return Child(self, self.order(do="start", **order, stdout=str(stdout), stderr=str(stderr))["pid"])

    def order(self, **order: Any) -> Any:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return self._heard()

    def close(self) -> None:
        """Kills whatever is left of the children."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _heard(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery ended"
        return json.loads(line)


@cache
def nursery() -> Nursery:
    """One for all tests of this process, from the first that needs it."""
    return Nursery()


def command(
    *arguments: str, home: Path, env: Mapping[str, str], check: bool = False, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """One `handrail` command to its end, as `subprocess.run` does it."""
    with tempfile.TemporaryDirectory(prefix="handrail-command-") as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        child = nursery().start(*arguments, home=home, env=env, stdout=stdout, stderr=stderr)
        try:
            child.wait(timeout)
        finally:
            child.kill()
            child.wait(timeout)
        done = subprocess.CompletedProcess(arguments, child.wait(timeout), stdout.read_text(), stderr.read_text())
    if check:
        assert done.returncode == 0, done.stderr
    return done


def end_nursery() -> None:
    if nursery.cache_info().currsize:
        nursery().close()
        nursery.cache_clear()
