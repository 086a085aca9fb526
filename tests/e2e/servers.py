"""The shop, served by the real command as a process of its own."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.children import Child, nursery
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0
STOP_SECONDS = 20.0


class LiveShop:
    """`handrail serve` over the example project; its data outlive a restart."""

    def __init__(
        self,
        data_dir: Path,
        log: Path,
        project: Path = ROOT / "examples" / "shop",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._project = project
        self._settings = settings or {}
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.data_dir = data_dir
        self._log = log
        self._process: Child | None = None

    def start(self) -> "LiveShop":
        """Returns when the server takes turns."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "HANDRAIL_"))
        }
        environment |= {
            "HANDRAIL_DATA_DIR": str(self.data_dir),
            "HANDRAIL_RATE_LIMIT__BURST": "1000",
            "HANDRAIL_RATE_LIMIT__TURNS_PER_MINUTE": "6000",
            "HANDRAIL_CONSOLE__SIGN_INS_BURST": "1000",
            "HANDRAIL_CONSOLE__SIGN_INS_PER_MINUTE": "6000",
            **self._settings,
        }
        files = {"stdout": self._log, "stderr": self._log}
        arguments = ("serve", "--project", str(self._project), "--port", str(self.port))
        self._process = nursery().start(*arguments, home=self.data_dir, env=environment, **files)
        self._wait_until_ready()
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECONDS)
            self._process = None

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            if _answers(f"{self.address}/readyz"):
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"the shop did not start: {self._log.read_text()[-3000:]}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
