"""The server that holds this data folder, asked in the name of the local operator."""

import asyncio
import hashlib
import hmac
import http.client
import shutil
import ssl
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from handrail.cli.certificate import pin_in
from handrail.core import json
from handrail.core.errors import HandrailError, UsageError
from handrail.db.owner import AlreadyServed, OwnerLock, is_held
from handrail.protection.auth import operator_token
from handrail.settings import Settings

Body = dict[str, Any]


class ServerRefused(UsageError):
    """The running server did not do what was asked; the message is its own."""

    code = "server_refused"


class NoData(UsageError):
    """A command that only looks, or changes what is there, was given a folder without data."""

    code = "no_data"


@asynccontextmanager
async def held_by(settings: Settings, *, makes: bool = False) -> AsyncGenerator["LocalServer | None"]:
    """The server that holds the data folder; without one the folder is this command's inside the block.

    Args:
        makes: whether the command may begin a new data folder; any other leaves nothing behind where there is none.

    Raises:
        NoData: there is nothing in the folder.
        AlreadyServed: a process holds the folder and does not say where it listens.
    """
    if settings.database_url is not None:
        yield None
        return
    if not makes:
        require_data(settings)
    lock = OwnerLock(settings.data_dir)
    try:
        lock.acquire()
    except AlreadyServed as held:
        if held.address is None:
            raise
        yield LocalServer(held.address, operator_token(settings.data_dir), pin_in(settings.data_dir))
        return
    try:
        yield None
    finally:
        lock.release()


def require_data(settings: Settings) -> None:
    """Raises `NoData` where neither a SQLite database nor a server is, and leaves nothing behind."""
    # A server that is about to make its database holds the folder already.
    if not settings.sqlite_file.is_file() and not is_held(settings.data_dir):
        raise NoData(
            f"there is no data in {str(settings.data_dir)!r}; name the folder of the server with --data-dir, "
            "or begin one with `handrail serve`"
        )


class LocalServer:
    """A running server on this machine."""

    def __init__(self, address: str, token: str, pin: bytes | None = None) -> None:
        self._address = address
        self._token = token
        self._pin = pin

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._address

    async def ask(self, method: str, path: str, body: Body | None = None, *, seconds: float = 10.0) -> Body:
        """The answer's JSON.

        Raises:
            ServerRefused: with the server's own words.
            HandrailError: it does not answer.
        """
        status, content = await asyncio.to_thread(self._send, method, path, body, seconds)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and status < 300:
            return answer
        error = answer.get("error") if isinstance(answer, dict) else None
        said = error.get("message") if isinstance(error, dict) else f"status {status}"
        raise ServerRefused(f"the server at {self._address} said: {said}")

    async def lines(self, path: str, *, seconds: float = 300.0) -> list[str]:
        """The lines of an answer that is not one JSON value.

        Raises:
            ServerRefused: with the server's own words.
            HandrailError: it does not answer.
        """
        status, content = await asyncio.to_thread(self._send, "GET", path, None, seconds)
        if status >= 300:
            raise ServerRefused(f"the server at {self._address} said: {content.decode(errors='replace')[:500]}")
        return content.decode().splitlines()

    async def save(self, path: str, file: BinaryIO, *, seconds: float = 3600.0) -> None:
        """Write an answer of any length to a file as it comes; raises as `lines`."""
        await asyncio.to_thread(self._save, path, file, seconds)

    def _save(self, path: str, file: BinaryIO, seconds: float) -> None:
        with self._sent("GET", path, None, seconds) as response:
            if response.status >= 300:
                said = response.read(4_000).decode(errors="replace")
                raise ServerRefused(f"the server at {self._address} said: {said[:500]}")
            shutil.copyfileobj(response, file)

    def _send(self, method: str, path: str, body: Body | None, seconds: float) -> tuple[int, bytes]:
        with self._sent(method, path, body, seconds) as response:
            return response.status, response.read()

    @contextmanager
    def _sent(self, method: str, path: str, body: Body | None, seconds: float) -> Generator[http.client.HTTPResponse]:
        # http.client and not urllib.request: that one would hand the operator's token to a proxy of the environment.
        parts = urlsplit(self._address)
        kind = partial(_Pinned, self._pin) if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=seconds)
        headers = {"authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise HandrailError(
                f"the server at {self._address} does not answer ({error}); try again, or look whether it still runs"
            ) from error
        finally:
            connection.close()


class _Pinned(http.client.HTTPSConnection):
    """TLS with the very certificate that the server wrote into its data folder, whatever name it is for."""

    def __init__(self, pin: bytes | None, host: str, port: int | None, *, timeout: float) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        # The pin says more than any authority could.
        context.verify_mode = ssl.CERT_NONE
        super().__init__(host, port, timeout=timeout, context=context)
        self._pin = pin

    def connect(self) -> None:
        super().connect()
        assert isinstance(self.sock, ssl.SSLSocket)
        shown = hashlib.sha256(self.sock.getpeercert(binary_form=True) or b"").digest()
        if self._pin is None or not hmac.compare_digest(shown, self._pin):
            self.close()
            raise OSError("its certificate is not the one that the server of this data folder wrote down")
