"""`handrail serve --workers N`: one socket, N processes that answer on it, and one that looks after them.

The supervisor makes the release once, in a process that ends, and takes no turns itself. A worker that dies is started
again, later each time it dies soon; its turns go on in another worker when their leases run out. The first SIGINT or
SIGTERM lets turns end, the second ends them now. A worker whose supervisor is gone ends as if it had been told to.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from handrail.core import json
from handrail.core.errors import HandrailError
from handrail.telemetry.logging import logger

BACKOFF_SECONDS = 0.2
MOST_BACKOFF_SECONDS = 30.0
# A worker that lived so long died of something new.
HEALTHY_SECONDS = 60.0
# Beyond the drain: the turns that it handed over still have their clients to tell.
GRACE_SECONDS = 15.0
READY = b"ready\n"


class WorkersFailed(HandrailError):
    """No worker could start; each has said why on standard error."""

    code = "workers_failed"


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told on its standard input; the end of that input tells it that the supervisor is gone."""

    project: str
    tenants: Sequence[str]
    settings: Mapping[str, Any]
    listener: int
    index: int
    agent: str = ""

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def backoff_seconds(deaths_in_a_row: int) -> float:
    """How long to wait before a worker is started again."""
    return min(BACKOFF_SECONDS * 2 ** min(deaths_in_a_row, 16), MOST_BACKOFF_SECONDS)


class Supervisor:
    """Looks after the workers until it is told to stop."""

    def __init__(self, job: Job, listener: socket.socket, workers: int, *, drain_seconds: float) -> None:
        self._job = job
        self._listener = listener
        self._workers = workers
        self._drain_seconds = drain_seconds
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._never_ready = 0
        self._serving: set[asyncio.subprocess.Process] = set()
        self._renewals = 0
        self._metrics = Path(tempfile.mkdtemp(prefix="handrail-metrics-"))

    async def run(self) -> None:
        """Serve until a signal.

        Raises:
            WorkersFailed: none of them could start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        if self._job.settings.get("tls", {}).get("cert"):
            loop.add_signal_handler(signal.SIGHUP, self._renew)
        keeping = [loop.create_task(self._keep(index)) for index in range(self._workers)]
        try:
            await self._any_ready()
            if self._ready.is_set():
                print(f"  {self._workers} workers", flush=True)
            await self._stopping.wait()
            # No further connections: those that nobody took would wait for nothing.
            self._listener.close()
            _, late = await asyncio.wait(keeping, timeout=self._drain_seconds + GRACE_SECONDS)
            for process in self._processes.values() if late else ():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await asyncio.gather(*keeping)
        finally:
            shutil.rmtree(self._metrics, ignore_errors=True)
        if not self._ready.is_set() and self._never_ready >= self._workers:
            raise WorkersFailed("no worker could start; the lines above say why")

    async def _any_ready(self) -> None:
        while not (self._ready.is_set() or self._stopping.is_set()):
            if self._never_ready >= self._workers:
                self._stopping.set()
            await asyncio.sleep(0.05)

    def _stop(self) -> None:
        self._stopping.set()
        self._tell(signal.SIGTERM)

    def _renew(self) -> None:
        """Workers that do not serve yet are told when they do: until then the signal would end them."""
        self._renewals += 1
        for process in self._serving:
            _send(process, signal.SIGHUP)

    def _tell(self, what: signal.Signals) -> None:
        for process in self._processes.values():
            _send(process, what)

    async def _keep(self, index: int) -> None:
        """One worker after another in this place."""
        deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            renewals = self._renewals
            process = self._processes[index] = await self._start(index)
            was_ready = await self._watch(process, renewals)
            self._serving.discard(process)
            code = await process.wait()
            if process.stdin is not None:
                process.stdin.close()
            if self._stopping.is_set():
                return
            self._never_ready += not was_ready
            deaths = 0 if time.monotonic() - began > HEALTHY_SECONDS else deaths + 1
            logger().error("a worker died", worker=index, pid=process.pid, exit_code=code)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff_seconds(deaths)):
                    await self._stopping.wait()

    async def _start(self, index: int) -> asyncio.subprocess.Process:
        for stale in self._metrics.glob(f"gauge_*_{index}.db"):
            # What the dead worker had open and running is over; what it counted stays.
            stale.unlink(missing_ok=True)
        job = replace(self._job, index=index)
        process = await _started("serve", job, {"PROMETHEUS_MULTIPROC_DIR": str(self._metrics)})
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)
        return process

    async def _watch(self, process: asyncio.subprocess.Process, renewals: int) -> bool:
        """Whether it came to take turns; returns when its output ends."""
        assert process.stdout is not None
        was_ready = False
        while line := await process.stdout.readline():
            if line == READY:
                was_ready = True
                self._serving.add(process)
                if renewals != self._renewals:
                    _send(process, signal.SIGHUP)
                self._ready.set()
            else:
                sys.stdout.buffer.write(line)
                sys.stdout.flush()
        return was_ready


def _send(process: asyncio.subprocess.Process, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(what)


async def prepare(job: Job) -> dict[str, Any]:
    """Make and use the releases in a process that ends; what to say about them.

    Raises:
        WorkersFailed: it could not; it has said why.
    """
    process = await _started("prepare", job, {})
    assert process.stdout is not None
    output = await process.stdout.read()
    if await process.wait() != 0:
        raise WorkersFailed("the release could not be made; the lines above say why")
    return json.loads(output)


async def _started(what: str, job: Job, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "handrail.cli.worker", what),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=(job.listener,),
        env={**os.environ, **environment},
        # The terminal's Ctrl-C goes to the supervisor, which passes it on once.
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(job.line())
    with contextlib.suppress(ConnectionError):
        await process.stdin.drain()
    return process
