"""The servers that are killed: one on SQLite, or two replicas on PostgreSQL, all children of one nursery."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.integration.processes import environment

STARTS_WITHIN = 60.0
PROJECT = Path(__file__).parent / "project"


class Nursery:
    """The process that forks servers; see `nursery.py`."""

    def __init__(self) -> None:
        self._orders = asyncio.Lock()

    async def open(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.crash.nursery",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3],
            env=environment(Path("/nowhere"), {}),
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        self._process, self._ear, self._mouth = process, process.stdout, process.stdin
        await self._heard()

    async def order(self, **order: Any) -> Any:
        async with self._orders:
            self._mouth.write(json.dumps(order).encode() + b"\n")
            return await self._heard()

    async def close(self) -> None:
        """Kills whatever is left of the servers."""
        self._mouth.close()
        await self._process.wait()

    async def _heard(self) -> Any:
        line = await asyncio.wait_for(self._ear.readline(), STARTS_WITHIN)
        assert line, "the nursery ended"
        return json.loads(line)


class Server:
    """One `handrail serve` that is started again and again; `address` is None while it is down."""

    def __init__(self, nursery: Nursery, name: str, home: Path, settings: dict[str, str], *arguments: str) -> None:
        self.name = name
        self.address: str | None = None
        self.log = home / f"{name}.log"
        self._nursery = nursery
        self._home = home
        self._settings = environment(home, settings)
        self._arguments = ("serve", "--project", str(PROJECT), "--port", "0", *arguments)
        self._pid = self._begin = 0

    async def start(self) -> None:
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        order = {"arguments": self._arguments, "env": self._settings, "home": str(self._home), "log": str(self.log)}
        self._pid = (await self._nursery.order(do="start", **order))["pid"]
        async with asyncio.timeout(STARTS_WITHIN):
            # Another process says it, in a file: there is no event to wait for.
            while self.address is None:
                await asyncio.sleep(0.01)
                self.address = self._announced(self._begin)

    async def send(self, number: signal.Signals) -> None:
        if number == signal.SIGCONT:
            self.address = self._announced(self._begin)
        else:
            self.address = None
        await self._nursery.order(do="signal", pid=self._pid, signal=number)

    def _announced(self, begin: int) -> str | None:
        if not self.log.exists():
            return None
        with self.log.open("rb") as log:
            log.seek(begin)
            said = log.read().decode(errors="replace")
        for line in said.splitlines():
            if " on http://" in line:
                return line.rpartition(" on ")[2].strip()
        assert "Traceback" not in said, said
        return None
