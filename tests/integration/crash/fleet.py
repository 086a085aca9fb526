"""The servers that are killed: one on SQLite, or two replicas on PostgreSQL."""

import asyncio
import signal
from pathlib import Path

from tests.children import Child, nursery
from tests.integration.processes import environment

STARTS_WITHIN = ENDS_WITHIN = 60.0
PROJECT = Path(__file__).parent / "project"


class Server:
    """One `handrail serve` that is started again and again; `address` is None while it is down."""

    def __init__(self, name: str, home: Path, settings: dict[str, str], *arguments: str) -> None:
        self.name = name
        self.address: str | None = None
        self.log = home / f"{name}.log"
        self._home = home
        self._settings = environment(home, settings)
        self._arguments = ("serve", "--project", str(PROJECT), "--port", "0", *arguments)
        self._child: Child | None = None
        self._begin = 0

    async def start(self) -> None:
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        files = {"stdout": self.log, "stderr": self.log}
        self._child = nursery().start(*self._arguments, home=self._home, env=self._settings, **files)
        async with asyncio.timeout(STARTS_WITHIN):
            # Another process says it, in a file: there is no event to wait for.
            while self.address is None:
                await asyncio.sleep(0.01)
                self.address = self._announced(self._begin)

    async def send(self, number: signal.Signals) -> None:
        """Returns when it is gone, if the signal ends it."""
        assert self._child is not None
        if number == signal.SIGCONT:
            self.address = self._announced(self._begin)
        else:
            self.address = None
        self._child.send_signal(number)
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            await asyncio.to_thread(self._child.wait, ENDS_WITHIN)

    async def end(self) -> None:
        """Kill it if it is still there."""
        if self._child is not None:
            await self.send(signal.SIGKILL)

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
