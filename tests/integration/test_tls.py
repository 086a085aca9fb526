"""TLS by certificate files: modern clients only, new files without a restart, and a command that knows its server."""

import asyncio
import datetime
import ipaddress
import os
import signal
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handrail.core.errors import UsageError
from handrail.http.tls import fingerprint, load, server_context
from handrail.settings import TlsSettings
from tests.integration.processes import Process, Provider, agent_project, run, serving
from tests.integration.test_replicas import until
from tests.integration.test_workers import is_alive, workers_of


def certificate(folder: Path, *, password: bytes | None = None) -> tuple[Path, Path]:
    """Files of a new certificate for 127.0.0.1 that signed itself."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agents.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, locked))
    return folder / "cert.pem", folder / "key.pem"


def handshake(port: int, cert: Path, version: ssl.TLSVersion | None = None) -> tuple[str | None, bytes]:
    """The version agreed on and what the server answers to one request."""
    context = ssl.create_default_context(cafile=str(cert))
    if version is not None:
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nconnection: close\r\n\r\n" % port)
        answer = b""
        while piece := secure.recv(65536):
            answer += piece
        return secure.version(), answer


class TestFiles:
    def test_must_be_there_and_fit_and_not_ask_for_a_password(self, tmp_path: Path):
        cert, key = certificate(tmp_path / "a")
        _, other = certificate(tmp_path / "b")
        _, locked = certificate(tmp_path / "c", password=b"secret")
        server_context(cert, key)
        for wrong in (tmp_path / "none.pem", other, locked, cert):
            with pytest.raises(UsageError, match=r"can't use certificate .*cert\.pem"):
                server_context(cert, wrong)

    def test_that_are_not_good_leave_a_running_server_as_it_was(self, tmp_path: Path):
        cert, key = certificate(tmp_path / "a")
        other, _ = certificate(tmp_path / "b")
        context = server_context(cert, key)
        with pytest.raises(UsageError):
            load(context, other, key)
        assert shake_hands(context, ssl.TLSVersion.TLSv1_3, cert)

    def test_are_named_both_or_neither(self, tmp_path: Path):
        assert not TlsSettings().is_on
        with pytest.raises(ValueError, match="both"):
            TlsSettings(cert=tmp_path / "cert.pem")


class TestOldVersions:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
    def test_are_refused(self, tmp_path: Path, version: ssl.TLSVersion):
        cert, key = certificate(tmp_path)
        with pytest.raises(ssl.SSLError):
            shake_hands(server_context(cert, key), version, cert)

    def test_of_two_the_safe_ciphers_serve(self, tmp_path: Path):
        cert, key = certificate(tmp_path)
        name = shake_hands(server_context(cert, key), ssl.TLSVersion.TLSv1_2, cert)
        assert name.startswith("ECDHE-")
        assert shake_hands(server_context(cert, key), ssl.TLSVersion.TLSv1_3, cert).startswith("TLS_")


def shake_hands(server: ssl.SSLContext, version: ssl.TLSVersion, cert: Path) -> str:
    """Both sides in memory; the cipher they agree on."""
    client = ssl.create_default_context(cafile=str(cert))
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_hostname="127.0.0.1"),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(6):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    cipher = sides[0].cipher()
    assert cipher is not None
    return cipher[0]


@pytest.mark.slow
def test_a_server_speaks_it_takes_new_files_and_is_known_to_its_commands(tmp_path: Path):
    cert, key = certificate(tmp_path / "tls")
    provider = Provider()
    project = agent_project(tmp_path / "talker", provider)
    files = ("--tls-cert", str(cert), "--tls-key", str(key))
    with serving("serve", "--project", str(project), *files, home=tmp_path / "home") as server:
        port = urlsplit(server.address).port or 0
        version, answer = handshake(port, cert)
        listed = run("release", "list", "--json", home=tmp_path / "home")
        before = fingerprint(cert)
        certificate(tmp_path / "tls")
        server.send(signal.SIGHUP)
        renewed = asyncio.run(_renewed(port, cert))
        listed_again = run("release", "list", "--json", home=tmp_path / "home")
        server.send(signal.SIGINT)
        assert server.ended() == 0
    provider.close()

    assert server.address.startswith("https://")
    assert (version, answer[:15]) == ("TLSv1.3", b"HTTP/1.1 200 OK")
    assert b"strict-transport-security: max-age=63072000" in answer
    assert listed.returncode == 0, listed.stderr
    assert (renewed, fingerprint(cert) != before) == (True, True)
    assert listed_again.returncode == 0, listed_again.stderr


@pytest.mark.slow
@pytest.mark.postgres
def test_every_worker_takes_new_files_one_that_only_starts_included(tmp_path: Path, blank_postgres_url: str):
    cert, key = certificate(tmp_path / "tls")
    provider = Provider()
    project = str(agent_project(tmp_path / "talker", provider))
    options = ("--project", project, "--workers", "2", "--tls-cert", str(cert), "--tls-key", str(key))
    with serving("serve", *options, home=tmp_path / "home", HANDRAIL_DATABASE_URL=blank_postgres_url) as server:
        port = urlsplit(server.address).port or 0
        until(lambda: len(workers_of(server)) == 2)
        workers = workers_of(server)
        # The first is ready by now, the second may be anywhere in its start.
        certificate(tmp_path / "tls")
        server.send(signal.SIGHUP)
        until(lambda: server.said().count("the certificate was read again") == 2, seconds=60)
        assert [of_one_alone(server, each, port, cert) for each in workers] == [True, True]
        assert (workers_of(server), all(map(is_alive, workers))) == (workers, True)
        server.send(signal.SIGTERM)
        assert server.ended() == 0
    provider.close()


def of_one_alone(server: Process, worker: int, port: int, cert: Path) -> bool:
    """Whether this worker shows the new files, while the others hold still."""
    others = [each for each in workers_of(server) if each != worker]
    for each in others:
        os.kill(each, signal.SIGSTOP)
    try:
        return asyncio.run(_renewed(port, cert))
    finally:
        for each in others:
            os.kill(each, signal.SIGCONT)


async def _renewed(port: int, cert: Path) -> bool:
    """Whether the server comes to answer with what is in the file now."""
    for _ in range(50):
        try:
            await asyncio.to_thread(handshake, port, cert)
        except ssl.SSLCertVerificationError:
            await asyncio.sleep(0.1)
        else:
            return True
    return False


@pytest.mark.slow
def test_beyond_loopback_it_needs_keys_and_says_when_it_speaks_plain_text(tmp_path: Path):
    provider = Provider()
    project = str(agent_project(tmp_path / "talker", provider))
    home = tmp_path / "home"
    home.mkdir()
    for host in ("0.0.0.0", "::"):
        refused = run("serve", "--project", project, "--host", host, "--port", "0", home=home)
        assert (refused.returncode, "no API keys" in refused.stderr) == (1, True), refused.stderr
    made = run("keys", "create", "--subject", "ana", home=home)
    assert made.returncode == 0, made.stderr
    with serving("serve", "--project", project, "--host", "0.0.0.0", home=home) as server:
        # No key, no answer: whoever reaches it is asked for one.
        port = urlsplit(server.address).port
        with socket.create_connection(("127.0.0.1", port or 0), timeout=10) as plain:
            plain.sendall(b"GET /v1/conversations HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            assert plain.recv(65536).startswith(b"HTTP/1.1 401")
        server.send(signal.SIGINT)
        assert server.ended() == 0
        assert "cross the network unencrypted" in server.said()
    provider.close()
