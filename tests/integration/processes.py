"""`handrail serve` as a process of its own, and a model provider that a test holds the pace of."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from tests.children import CLI, command, nursery

STARTS_WITHIN = 60.0
ENDS_WITHIN = 20.0


class Process:
    """One `handrail` command that serves; `address` is where. `program` is another one that ends in serving."""

    def __init__(self, *arguments: str, home: Path, program: str = CLI, **settings: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._stdout, self._stderr = home / "stdout", home / "stderr"
        self._begin = self._stdout.stat().st_size if self._stdout.exists() else 0
        self._process = nursery().start(
            *arguments, "--port", "0",
            home=home, env=environment(home, settings), stdout=self._stdout, stderr=self._stderr, program=program,
        )  # fmt: skip
        self.address = self._address()
        self.client = httpx2.Client(base_url=self.address, timeout=20)

    def open(self) -> str:
        answer = self.client.post("/v1/conversations", json={})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def say(self, conversation: str, message: str, **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.client.post(f"/v1/conversations/{conversation}/turns", json={"message": message}, headers=given)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def transcript(self, conversation: str) -> list[tuple[str, str]]:
        body = self.client.get(f"/v1/conversations/{conversation}").json()
        return [(each["role"], each["content"]) for each in body["messages"]]

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def ended(self) -> int:
        """The exit code, once it has ended."""
        return self._process.wait(ENDS_WITHIN)

    def close(self) -> None:
        self.client.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(ENDS_WITHIN)

    def said(self) -> str:
        """What it wrote to stderr."""
        return self._stderr.read_bytes().decode(errors="replace")

    def pad_log(self, size: int) -> None:
        """The file it logs to is at least `size` bytes from here on."""
        with self._stderr.open("a") as stderr:
            stderr.write(" " * size + "\n")

    def _address(self) -> str:
        until = time.monotonic() + STARTS_WITHIN
        # Another process says it, in a file: there is no event to wait for.
        while time.monotonic() < until:
            has_ended = self._process.poll() is not None
            for line in self._announced().splitlines():
                if " on http" in line:
                    return line.rpartition(" on ")[2].strip()
            if has_ended:
                break
            time.sleep(0.01)
        self._process.kill()
        self._process.wait(ENDS_WITHIN)
        raise AssertionError(f"the server did not start: {self.said()}")

    def _announced(self) -> str:
        """The whole lines it wrote to stdout."""
        with self._stdout.open("rb") as stdout:
            stdout.seek(self._begin)
            return stdout.read().decode().rpartition("\n")[0]


@contextlib.contextmanager
def serving(*arguments: str, home: Path, program: str = CLI, **settings: str) -> Iterator[Process]:
    process = Process(*arguments, home=home, program=program, **settings)
    try:
        yield process
    finally:
        process.close()


def run(*arguments: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """One `handrail` command to its end."""
    return command(*arguments, home=home, env=environment(home, settings), timeout=STARTS_WITHIN)


def environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of its own, and with the data in `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HANDRAIL_")}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return kept | threads | {"HANDRAIL_DATA_DIR": str(home / "data")} | settings


class Provider:
    """An OpenAI-compatible model that streams the words of `says`, `gap` seconds apart."""

    def __init__(self) -> None:
        self.says = "one two three"
        self.gap = 0.0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                with contextlib.suppress(OSError):
                    provider._stream(self)

            def log_message(self, format: str, *args: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        words = self.says.split(" ")
        for number, word in enumerate(words):
            if number:
                time.sleep(self.gap)
            self._send(handler, {"delta": {"content": word if number == len(words) - 1 else f"{word} "}})
        self._send(handler, {"delta": {}, "finish_reason": "stop"})
        handler.wfile.write(b"data: [DONE]\n\n")

    def _send(self, handler: BaseHTTPRequestHandler, choice: dict[str, Any]) -> None:
        body = {"id": "c", "object": "chat.completion.chunk", "model": "mock-1", "choices": [{"index": 0, **choice}]}
        handler.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
        handler.wfile.flush()


def agent_project(folder: Path, provider: Provider) -> Path:
    """A project without intents, which need no training: everything goes to the provider's model."""
    folder.mkdir()
    model = f"{{provider: openai_compatible, base_url: '{provider.url}', model: mock-1}}"
    (folder / "agent.yaml").write_text(f"name: talker\nmodels:\n  large: {model}\n")
    (folder / "instructions.md").write_text("Be brief.\n")
    return folder
