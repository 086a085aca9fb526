import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from handrail.cli.keys import app
from handrail.core.errors import HandrailError, NotFound
from handrail.db.owner import AlreadyServed, OwnerLock
from handrail.protection.auth import operator_token

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HANDRAIL_DATABASE_URL", "HANDRAIL_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


def _json(arguments: list[str], data_dir: Path) -> Any:
    result = run(app, [*arguments, "--data-dir", str(data_dir), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class TestOnTheDatabase:
    def test_a_key_is_made_listed_without_its_secret_and_revoked(self, tmp_path: Path) -> None:
        options = ["--tenant", "acme", "--subject", "ann", "--role", "approver", "--scope", "approvals:read"]
        options += ["--scope", "approvals:decide"]
        options += ["--team", "payments", "--team", "payments", "--team", "fraud"]
        made = _json(["create", *options, "--expires-in-days", "30", "--note", "ours"], tmp_path)
        (listed,) = _json(["list", "--tenant", "acme"], tmp_path)["data"]
        revoked = _json(["revoke", made["id"], "--tenant", "acme"], tmp_path)

        text = made.pop("key")
        assert text.startswith(f"hr_{made['prefix']}_")
        assert listed == made
        assert (made["tenant_id"], made["subject"], made["role"]) == ("acme", "ann", "approver")
        assert (made["scopes"], made["note"]) == (["approvals:read", "approvals:decide"], "ours")
        assert made["teams"] == ["payments", "fraud"]
        assert made["expires_at"] > made["created_at"]
        assert revoked["revoked_at"] is not None

    def test_create_prints_the_key_alone_on_standard_output(self, tmp_path: Path) -> None:
        result = run(app, ["create", "--subject", "ann", "--data-dir", str(tmp_path)])

        (line,) = result.stdout.splitlines()
        assert line.startswith("hr_")
        assert "can't be shown again" in result.stderr
        assert line not in result.stderr

    def test_list_shows_people_who_when_and_what_for(self, tmp_path: Path) -> None:
        made = _json(["create", "--subject", "ann", "--note", "the shop's website"], tmp_path)
        result = run(app, ["list", "--data-dir", str(tmp_path)])

        assert made["id"] in result.stdout
        assert "default/ann  end_user  expires never  used never  the shop's website" in result.stdout
        assert made["key"] not in result.stdout

    @pytest.mark.usefixtures("sqlite_url")
    def test_an_empty_list_says_what_to_do(self, tmp_path: Path) -> None:
        assert "handrail keys create" in run(app, ["list", "--data-dir", str(tmp_path)]).stdout

    def test_a_key_of_another_tenant_is_not_found(self, tmp_path: Path) -> None:
        made = _json(["create", "--tenant", "acme", "--subject", "ann"], tmp_path)

        with pytest.raises(NotFound, match=made["id"]):
            run(app, ["revoke", made["id"], "--data-dir", str(tmp_path)], catch_exceptions=False)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["create"], "--subject"),
            (["create", "--subject", "a", "--role", "king"], "king"),
            (["create", "--subject", "a", "--expires-in-days", "0"], "expires-in-days"),
            (["revoke"], "key_id"),
        ],
    )
    def test_a_wrong_command_line_is_explained(self, tmp_path: Path, arguments: list[str], said: str) -> None:
        result = run(app, [*arguments, "--data-dir", str(tmp_path)])

        assert result.exit_code == 2
        assert said in result.stderr


class Server(http.server.ThreadingHTTPServer):
    """Stands for a running `handrail serve`: keeps what it was asked, answers what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str, str, Any]] = []
        self.answer: tuple[int, bytes] = (200, b"{}")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = (self.command, self.path, self.headers["authorization"], json.loads(body) if body else None)
        self.server.asked.append(asked)
        status, answer = self.server.answer
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_DELETE = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that holds the data folder."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server = Server()
    lock = OwnerLock(tmp_path)
    lock.acquire(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    lock.release()


class TestThroughTheServer:
    KEY = {
        "id": "key_1", "tenant_id": "acme", "subject": "ann", "role": "viewer", "prefix": "abcdefgh", "note": None,
        "expires_at": None, "revoked_at": None, "last_used_at": None,
    }  # fmt: skip

    def test_create_posts_what_is_wanted_with_the_operators_token(self, server: Server, tmp_path: Path) -> None:
        server.answer = (201, json.dumps({**self.KEY, "key": "hr_abcdefgh_0"}).encode())

        made = _json(["create", "--tenant", "acme", "--subject", "ann", "--role", "viewer"], tmp_path)

        assert made == {**self.KEY, "key": "hr_abcdefgh_0"}
        wanted = {
            "tenant": "acme", "subject": "ann", "role": "viewer", "scopes": [], "expires_in_days": None, "note": None,
            "teams": [],
        }  # fmt: skip
        assert server.asked == [("POST", "/v1/keys", f"Bearer {operator_token(tmp_path)}", wanted)]
        assert not (tmp_path / "handrail.db").exists(), "the server's database was opened behind its back"

    def test_the_other_commands_name_the_tenant(self, server: Server, tmp_path: Path) -> None:
        server.answer = (200, json.dumps({"data": [self.KEY], "next_cursor": None}).encode())
        listed = _json(["list", "--tenant", "a&b"], tmp_path)
        server.answer = (200, json.dumps(self.KEY).encode())
        _json(["revoke", "key_1/../x"], tmp_path)
        _json(["rotate", "key_1", "--grace", "0"], tmp_path)

        assert listed["data"] == [self.KEY]
        assert [each[:2] for each in server.asked] == [
            ("GET", "/v1/keys?tenant=a%26b"),
            ("DELETE", "/v1/keys/key_1%2F..%2Fx?tenant=default"),
            ("POST", "/v1/keys/key_1/rotate?tenant=default"),
        ]

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ((404, b'{"error": {"code": "not_found", "message": "there is no API key"}}'), "there is no API key"),
            ((502, b"<html>"), "status 502"),
            ((200, b"[]"), "status 200"),
        ],
    )
    def test_what_the_server_says_is_passed_on(
        self, server: Server, tmp_path: Path, answer: tuple[int, bytes], said: str
    ) -> None:
        server.answer = answer

        with pytest.raises(HandrailError, match=said):
            run(app, ["revoke", "key_1", "--data-dir", str(tmp_path)], catch_exceptions=False)


class TestHeldByAProcess:
    def test_that_does_not_listen_yet_is_said(self, tmp_path: Path) -> None:
        lock = OwnerLock(tmp_path)
        lock.acquire()

        with pytest.raises(AlreadyServed):
            run(app, ["list", "--data-dir", str(tmp_path)], catch_exceptions=False)
        lock.release()

    def test_that_does_not_answer_is_said(self, tmp_path: Path) -> None:
        from tests.servers import free_port

        lock = OwnerLock(tmp_path)
        lock.acquire(f"http://127.0.0.1:{free_port()}")

        with pytest.raises(HandrailError, match="does not answer"):
            run(app, ["list", "--data-dir", str(tmp_path)], catch_exceptions=False)
        lock.release()


class TestRotate:
    def test_prints_a_new_key_and_lets_the_old_one_go_on_for_a_while(self, tmp_path: Path) -> None:
        made = _json(["create", "--subject", "ann", "--note", "ours", "--scope", "turns:write"], tmp_path)
        result = run(app, ["rotate", made["id"], "--grace", "2h", "--data-dir", str(tmp_path)])
        (line,) = result.stdout.splitlines()
        new, old = _json(["list"], tmp_path)["data"]
        assert line.startswith(f"hr_{new['prefix']}_")
        assert (new["subject"], new["note"], new["scopes"]) == ("ann", "ours", ["turns:write"])
        assert old["replaced_by"] == new["id"]
        ends = datetime.fromisoformat(old["expires_at"])
        assert timedelta(hours=1, minutes=58) < ends - datetime.now(UTC) <= timedelta(hours=2)

    @pytest.mark.parametrize("grace", ["", "h", "-1h", "1", "31d", "1w", "1.5h", "²h"])
    def test_says_what_a_time_looks_like(self, tmp_path: Path, grace: str) -> None:
        result = run(app, ["rotate", "key_1", "--grace", grace, "--data-dir", str(tmp_path)])
        assert result.exit_code == 2
        assert "30m, 24h or 7d" in " ".join(result.stderr.replace("│", " ").split())


class TestLinks:
    @pytest.mark.usefixtures("sqlite_url")
    def test_are_for_deployments_with_keys(self, tmp_path: Path) -> None:
        result = run(app, ["link", "--data-dir", str(tmp_path)])
        assert isinstance(result.exception, HandrailError)
        assert "without API keys nobody signs in" in result.exception.message

    def test_print_the_address_alone_on_standard_output(self, tmp_path: Path) -> None:
        _json(["create", "--subject", "ann"], tmp_path)
        result = run(app, ["link", "--url", "https://agents.example.com/", "--data-dir", str(tmp_path)])
        (line,) = result.stdout.splitlines()
        assert line.startswith("https://agents.example.com/console/sign-in?link=")
        assert "first-operator (admin, approver, operator) once" in result.stderr

    def test_sign_in_whom_they_name(self, tmp_path: Path) -> None:
        _json(["create", "--subject", "ann"], tmp_path)
        made = _json(["link", "--subject", "olga", "--role", "viewer", "--tenant", "acme"], tmp_path)
        assert (made["subject"], made["roles"], made["tenant_id"]) == ("olga", ["viewer"], "acme")
        assert made["url"] == f"http://127.0.0.1:8080{made['path']}"
