import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handrail.core.models import ModelUnavailable
from handrail.egress import Egress, EgressRefused
from handrail.serving.models import ConnectionSettings, ModelConnections
from handrail.serving.models.connection import MOST_BUFFERED_BYTES, BrokenConnection, Connection
from handrail.serving.models.connections import Origin

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The server runs on uvloop, whose sockets break in other ways."""
    return "asyncio", {"use_uvloop": request.param}


class Server:
    """Answers every request on a connection with the next of some answers; an empty one hangs up."""

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers)
        self.connections = 0
        self._tls = tls
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.origin = Origin("localhost" if self._tls else "127.0.0.1", port, self._tls is not None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while self.answers:
                await reader.readuntil(b"\r\n\r\n")
                answer = self.answers.pop(0)
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer:
                    break
            else:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()


@pytest.fixture
async def pool() -> AsyncIterator[ModelConnections]:
    made = ModelConnections()
    yield made
    await made.close()


async def _call(pool: ModelConnections, origin: Origin, seconds: float = 5.0) -> bytes:
    """One whole exchange."""
    connection = await pool.acquire(origin, within_seconds=seconds)
    try:
        await connection.ask(REQUEST, first_byte_seconds=seconds, silence_seconds=seconds, seconds=seconds)
        return b"".join([data async for data in _pieces(connection)])
    finally:
        pool.release(connection, origin)


async def _pieces(connection: Connection) -> AsyncIterator[bytes]:
    while data := await connection.read():
        yield data


class TestConnection:
    async def test_reads_an_answer_that_lasts_until_the_server_hangs_up(self, pool: ModelConnections) -> None:
        async with Server(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end") as server:
            assert await _call(pool, server.origin) == b"until the end"

    async def test_misses_the_rest_of_an_answer_of_stated_length(self, pool: ModelConnections) -> None:
        async with Server(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nhalf") as server:
            with pytest.raises(BrokenConnection):
                await _call(pool, server.origin)

    async def test_passes_over_what_comes_before_the_answer(self, pool: ModelConnections) -> None:
        hints = b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n"
        async with Server(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK) as server:
            connection = await pool.acquire(server.origin, within_seconds=5)
            await connection.ask(REQUEST, first_byte_seconds=5, silence_seconds=5, seconds=5)
            assert (connection.status, connection.headers) == (200, {"content-length": "2"})
            assert await connection.read() == b"ok"
            pool.release(connection, server.origin)

    @pytest.mark.parametrize("surplus", [OK, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nno", b"what?"])
    async def test_is_not_used_again_when_more_came_than_the_answer(
        self, pool: ModelConnections, surplus: bytes
    ) -> None:
        async with Server(OK + surplus, OK) as server:
            assert [await _call(pool, server.origin) for _ in range(2)] == [b"ok", b"ok"]
            assert server.connections == 2

    async def test_stops_reading_while_nobody_takes_what_came(self, pool: ModelConnections) -> None:
        size = 40 * MOST_BUFFERED_BYTES
        async with Server(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (size, b"x" * size)) as server:
            connection = await pool.acquire(server.origin, within_seconds=5)
            await connection.ask(REQUEST, first_byte_seconds=5, silence_seconds=5, seconds=5)
            await asyncio.sleep(0.05)
            first = len(await connection.read())
            rest = sum([len(data) async for data in _pieces(connection)])
            pool.release(connection, server.origin)
        assert first < 4 * MOST_BUFFERED_BYTES
        assert first + rest == size

    async def test_refuses_a_head_without_end(self, pool: ModelConnections) -> None:
        async with Server(b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n") as server:
            with pytest.raises(BrokenConnection):
                await _call(pool, server.origin)


class TestPool:
    async def test_gives_a_connection_to_the_next_call(self, pool: ModelConnections) -> None:
        async with Server(OK, OK, OK) as server:
            for _ in range(3):
                assert await _call(pool, server.origin) == b"ok"
            assert (server.connections, pool.in_use) == (1, 0)

    async def test_opens_another_when_the_server_said_it_closes(self, pool: ModelConnections) -> None:
        closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
        async with Server(closing, OK) as server:
            assert [await _call(pool, server.origin) for _ in range(2)] == [b"ok", b"ok"]
            assert server.connections == 2

    async def test_opens_another_when_the_server_has_closed_an_idle_one(self, pool: ModelConnections) -> None:
        async with Server(OK, OK) as server:
            await _call(pool, server.origin)
            server.hang_up()
            await asyncio.sleep(0.02)
            assert await _call(pool, server.origin) == b"ok"
            assert server.connections == 2

    async def test_closes_what_has_been_idle_for_long(self) -> None:
        pool = ModelConnections(ConnectionSettings(keepalive_seconds=0.01))
        async with Server(OK, OK) as server:
            await _call(pool, server.origin)
            await asyncio.sleep(0.1)
            await _call(pool, server.origin)
            assert server.connections == 2
        await pool.close()

    async def test_lets_calls_wait_for_one_of_few(self) -> None:
        pool = ModelConnections(ConnectionSettings(limit=1))
        async with Server(*[OK] * 5) as server:
            answers = await asyncio.gather(*(_call(pool, server.origin) for _ in range(5)))
            assert (answers, server.connections) == ([b"ok"] * 5, 1)
        await pool.close()

    async def test_closes_what_is_in_use_when_the_process_ends(self) -> None:
        pool = ModelConnections()
        async with Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf") as server:
            calling = asyncio.create_task(_call(pool, server.origin))
            await asyncio.sleep(0.05)
            await pool.close()
            with pytest.raises(BrokenConnection):
                await calling
            with pytest.raises(ModelUnavailable, match="shutting down"):
                await _call(pool, server.origin)

    async def test_tries_the_next_address_of_a_host(self) -> None:
        async with Server(OK) as server:
            with socket.create_server(("127.0.0.1", 0)) as free:
                dead = free.getsockname()[1]

            async def both(_host: str, port: int) -> list[tuple[str, int]]:
                return [("127.0.0.1", dead), ("127.0.0.1", port)]

            pool = ModelConnections(egress=Egress(resolve=both))
            assert await _call(pool, server.origin) == b"ok"
            await pool.close()

    async def test_goes_to_no_metadata_service_whatever_name_leads_there(self) -> None:
        async def rebound(_host: str, port: int) -> list[tuple[str, int]]:
            return [("169.254.169.254", port)]

        pool = ModelConnections(egress=Egress(resolve=rebound))
        with pytest.raises(EgressRefused, match="metadata"):
            await _call(pool, Origin("api.example.com", 443))
        await pool.close()

    async def test_finds_a_host_by_name(self, pool: ModelConnections) -> None:
        async with Server(OK) as server:
            assert await _call(pool, Origin("localhost", server.origin.port)) == b"ok"


class TestTls:
    async def test_speaks_to_a_server_whose_certificate_is_trusted(
        self, pool: ModelConnections, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        async with Server(OK, tls=_certificate(tmp_path)) as server:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
            assert await _call(pool, server.origin) == b"ok"

    async def test_does_not_speak_to_a_server_that_nobody_vouches_for(
        self, pool: ModelConnections, tmp_path: Path
    ) -> None:
        async with Server(OK, tls=_certificate(tmp_path)) as server:
            with pytest.raises(OSError, match="certificate"):
                await _call(pool, server.origin)


def _certificate(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path = folder / "key.pem"
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return context
