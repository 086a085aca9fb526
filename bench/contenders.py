"""What is measured: the mock model alone, the floor, Handrail, and the peer, each a process of its own."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Fleet, Server, free_port
from bench.project import write_project
from bench.results import FLOOR, HANDRAIL, MOCK, PEER

HANDRAIL_ENVIRONMENT = {
    "HANDRAIL_RATE_LIMIT__TURNS_PER_MINUTE": "1000000",
    "HANDRAIL_RATE_LIMIT__BURST": "1000000",
    "HANDRAIL_ADMISSION__RUNNING": "2000",
    "HANDRAIL_ADMISSION__RUNNING_PER_TENANT": "2000",
}
"""Every rail runs; only the limits are too high to be met, because all load, 1,000 streams too, comes from one user."""


@dataclass(frozen=True, slots=True)
class ModelTiming:
    """How the mock model streams."""

    tokens: int
    first_token_ms: float = 0
    gap_ms: float = 0


class Contenders:
    """Starts the servers of a run; all their files are in one folder of the run."""

    def __init__(self, fleet: Fleet, folder: Path, timing: ModelTiming) -> None:
        self._fleet = fleet
        self._folder = folder
        folder.mkdir(parents=True)
        self.mock = self._start_module(
            MOCK,
            "bench.mock_model",
            "--tokens", str(timing.tokens),
            "--first-token-ms", str(timing.first_token_ms),
            "--gap-ms", str(timing.gap_ms),
        )  # fmt: skip
        self._model_url = f"{self.mock.url}/v1"

    def start(self, name: str) -> Server:
        """Start one contender against this run's mock model."""
        match name:
            case "floor":
                database = str(self._folder / "floor.db")
                return self._start_module(FLOOR, "bench.floor", "--model-url", self._model_url, "--database", database)
            case "handrail":
                return self._start_handrail()
            case "pydantic-ai":
                return self._start_module(PEER, "bench.peer_pydantic_ai", "--model-url", self._model_url)
            case _:
                raise ValueError(f"no contender is called {name!r}; there are {FLOOR!r}, {HANDRAIL!r} and {PEER!r}")

    def _start_module(self, name: str, module: str, *arguments: str) -> Server:
        port = free_port()
        command = [sys.executable, "-m", module, "--port", str(port), *arguments]
        return self._fleet.start(name, command, port=port, log=self._folder / f"{name}.log")

    def start_profiled(self, split_file: Path) -> Server:
        """Start Handrail so that it tells, when asked by a signal, where its CPU time went."""
        return self._start_handrail(sys.executable, "-m", "bench.profiled", str(split_file))

    def _start_handrail(self, *command: str) -> Server:
        project = write_project(self._folder / "project", self._model_url)
        port = free_port()
        command = (
            *(command or (str(_handrail_command()),)),
            "serve", "--project", str(project), "--host", "127.0.0.1", "--port", str(port),
        )  # fmt: skip
        env = {**HANDRAIL_ENVIRONMENT, "HANDRAIL_DATA_DIR": str(self._folder / "handrail-data")}
        return self._fleet.start(HANDRAIL, command, port=port, log=self._folder / "handrail.log", env=env)


def missing(name: str) -> str | None:
    """Why a contender cannot be measured here, or None."""
    if name == PEER and importlib.util.find_spec("pydantic_ai") is None:
        return "pydantic-ai is not installed; `make bench` installs it"
    if name == HANDRAIL and not _handrail_command().exists():
        return f"there is no {_handrail_command().name!r} beside {sys.executable!r}; run `make setup`"
    return None


def _handrail_command() -> Path:
    return Path(os.path.abspath(sys.executable)).parent / "handrail"
