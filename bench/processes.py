"""The processes of the benchmark: starting them on free ports, their CPU time and memory, and ending each by its id."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

START_SECONDS = 60
LOG_TAIL_CHARACTERS = 4000


class ServerFailed(Exception):
    """A server did not start or did not live as long as the benchmark."""


class Server:
    """One server process on a port of 127.0.0.1 that answers `/healthz`."""

    def __init__(
        self, name: str, command: Sequence[str], *, port: int, log: Path, env: Mapping[str, str] | None = None
    ):
        self.name = name
        self.port = port
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
            )
        self._stats = psutil.Process(self._process.pid)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_healthy(self) -> None:
        """Return when `/healthz` answers 200."""
        deadline = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self.failed("did not start")
            time.sleep(0.05)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def failed(self, what: str) -> ServerFailed:
        """The error that says so, with the end of the server's log."""
        tail = self._log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]
        return ServerFailed(f"{self.name} {what} (exit code {self._process.poll()}); the end of its log:\n{tail}")

    def cpu_ms(self) -> float:
        """CPU time used so far, its children included."""
        return sum(1000 * (times.user + times.system) for times in (each.cpu_times() for each in self._family()))

    def rss_mb(self) -> float:
        """Resident memory now, its children included."""
        return sum(each.memory_info().rss for each in self._family()) / 1e6

    def _family(self) -> list[psutil.Process]:
        if self._process.poll() is not None:
            raise self.failed("ended before the benchmark did")
        return [self._stats, *self._stats.children(recursive=True)]

    def signal(self, number: int) -> None:
        """Tell the process something that it listens for."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End the process; kill it when it does not listen."""
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Fleet:
    """All servers of one run; leaving the block ends them."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    def start(
        self, name: str, command: Sequence[str], *, port: int, log: Path, env: Mapping[str, str] | None = None
    ) -> Server:
        """Start a server and wait until it answers."""
        server = Server(name, command, port=port, log=log, env=env)
        self.servers.append(server)
        server.wait_until_healthy()
        return server

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in reversed(self.servers):
            server.stop()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def allow_many_sockets(wanted: int = 16_384) -> None:
    """Raise this process's limit of open files, which its children inherit: 1,000 streams take 3,000 sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
