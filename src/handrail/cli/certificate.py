"""The server's certificate: read at the start, renewed on a signal, and written down for this machine's commands."""

from asyncio import AbstractServer
from pathlib import Path
from ssl import SSLContext
from typing import Any

import uvloop

from handrail.core.errors import UsageError
from handrail.http.tls import fingerprint, load, server_context
from handrail.settings import Settings
from handrail.telemetry.logging import logger

PIN = "certificate.sha256"
HANDSHAKE_SECONDS = 10.0


class ServerLoop(uvloop.Loop):
    """Who connects and does not shake hands is let go of soon: nothing else bounds what is no request yet."""

    async def create_server(self, *given: Any, **named: Any) -> AbstractServer:
        if named.get("ssl") is not None:
            named.setdefault("ssl_handshake_timeout", HANDSHAKE_SECONDS)
        return await super().create_server(*given, **named)


class Certificate:
    """What the server shows of itself."""

    def __init__(self, cert: Path, key: Path, data_dir: Path) -> None:
        self._cert, self._key, self._data_dir = cert, key, data_dir
        self.context: SSLContext = server_context(cert, key)
        self._write_pin()

    @classmethod
    def of(cls, settings: Settings) -> "Certificate | None":
        """The configured one; raises `UsageError` when its files are not good."""
        tls = settings.tls
        return cls(tls.cert, tls.key, settings.data_dir) if tls.cert and tls.key else None

    def for_server(self, _config: object, _default: object) -> SSLContext:
        """As uvicorn asks for it."""
        return self.context

    def renew(self) -> None:
        """Read the files again, for connections from now on; files that are not good change nothing."""
        try:
            load(self.context, self._cert, self._key)
            self._write_pin()
        except UsageError as error:
            logger().error("the certificate stays as it was", error=error.message)
        else:
            logger().info("the certificate was read again", cert=str(self._cert))

    def _write_pin(self) -> None:
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._data_dir / PIN).write_text(fingerprint(self._cert) + "\n")


def pin_in(data_dir: Path) -> bytes | None:
    """SHA-256 of the certificate of the server of this folder, if it has one."""
    try:
        return bytes.fromhex((data_dir / PIN).read_text().strip())
    except (OSError, ValueError):
        return None
