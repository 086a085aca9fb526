"""A decision outlives the process that took it: real servers, killed by SIGKILL, with the effect counted outside."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest

from tests.integration.processes import Process, environment, run, serving

DYING = str(Path(__file__).with_name("dying.py"))
AGENT = """
name: mailer
models:
  large: {{provider: openai_compatible, base_url: '{url}', model: mock-1}}
"""
TOOLS = '''
import os

from handrail import ToolContext, tool


@tool(effect="write")
def send_mail(text: str, ctx: ToolContext) -> str:
    """Send a mail."""
    file = os.open({effects!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (ctx.tool_call_id + "\\n").encode())
    os.fsync(file)
    os.close(file)
    return "sent"
'''
POLICIES = "approvals:\n- {name: mails, tools: [send_mail], risk: high}\n"


class AskingModel:
    """An OpenAI-compatible model that asks for a mail, and is content once it has a result."""

    def __init__(self) -> None:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                for choice in model.choices(request["messages"]):
                    body = {"id": "c", "object": "chat.completion.chunk", "model": "mock-1"}
                    self.wfile.write(b"data: " + json.dumps(body | {"choices": [{"index": 0, **choice}]}).encode())
                    self.wfile.write(b"\n\n")
                self.wfile.write(b"data: [DONE]\n\n")

            def log_message(self, format: str, *args: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def choices(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if messages[-1]["role"] == "tool":
            return [{"delta": {"content": "It is sent."}}, {"delta": {}, "finish_reason": "stop"}]
        call = {"name": "send_mail", "arguments": '{"text": "hello"}'}
        asked = {"index": 0, "id": "call_1", "type": "function", "function": call}
        return [{"delta": {"tool_calls": [asked]}}, {"delta": {}, "finish_reason": "tool_calls"}]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def model() -> Iterator[AskingModel]:
    made = AskingModel()
    yield made
    made.close()


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    return tmp_path / "effects"


@pytest.fixture
def project(tmp_path: Path, model: AskingModel, effects: Path) -> str:
    folder = tmp_path / "mailer"
    folder.mkdir()
    (folder / "agent.yaml").write_text(AGENT.format(url=model.url))
    (folder / "instructions.md").write_text("Send mails.\n")
    (folder / "tools.py").write_text(TOOLS.format(effects=str(effects)))
    (folder / "policies.yaml").write_text(POLICIES)
    return str(folder)


def decide(server: Process, home: Path, approval_id: str) -> httpx2.Response:
    """As the local operator of this server."""
    token = (home / "data" / "operator.token").read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    shown = server.client.get(f"/v1/approvals/{approval_id}", headers=headers).json()
    body = {"decision": "approve", "fingerprint": shown["fingerprint"]}
    return server.client.post(f"/v1/approvals/{approval_id}/decision", json=body, headers=headers)


def park(server: Process) -> tuple[str, str]:
    """A turn that waits; returns it and its approval."""
    turn = server.say(server.open(), "mail them")
    assert turn["status"] == "requires_action", turn
    return turn["id"], turn["approvals"][0]


def ended(server: Process, turn_id: str, seconds: float = 20.0) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while (turn := server.client.get(f"/v1/turns/{turn_id}").json())["status"] in ("requires_action", "running"):
        assert time.monotonic() < until, turn
        time.sleep(0.1)
    return turn


def dies_deciding(server: Process, home: Path, approval_id: str) -> None:
    with pytest.raises(httpx2.TransportError):
        decide(server, home, approval_id)
    assert server.ended() == -9


def is_done_once(server: Process, home: Path, turn_id: str, approval_id: str, effects: Path) -> None:
    turn = ended(server, turn_id)
    assert (turn["status"], turn["message"]["content"]) == ("completed", "It is sent.")
    again = decide(server, home, approval_id)
    assert (again.status_code, again.json()["approval"]["status"]) == (409, "approved")
    assert len(effects.read_text().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("point", ["decided", "claimed"])
def test_what_was_approved_is_done_once_after_a_restart(tmp_path: Path, project: str, effects: Path, point: str):
    with serving(point, "serve", "--project", project, home=tmp_path, program=DYING) as server:
        turn_id, approval_id = park(server)
        dies_deciding(server, tmp_path, approval_id)
    assert not effects.exists()
    with serving("serve", "--project", project, home=tmp_path) as server:
        is_done_once(server, tmp_path, turn_id, approval_id, effects)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("point", ["decided", "claimed"])
def test_what_was_approved_is_done_once_by_another_replica(
    tmp_path: Path, project: str, effects: Path, point: str, blank_postgres_url: str
):
    one, two = tmp_path / "one", tmp_path / "two"
    shared = {"HANDRAIL_DATABASE_URL": blank_postgres_url, "HANDRAIL_TURN__LEASE_SECONDS": "2"}
    with (
        serving(point, "serve", "--project", project, home=one, program=DYING, **shared) as dying,
        serving("serve", "--project", project, home=two, **shared) as other,
    ):
        turn_id, approval_id = park(dying)
        dies_deciding(dying, one, approval_id)
        is_done_once(other, two, turn_id, approval_id, effects)


def said(home: Path, *arguments: str, fails: bool = False, **settings: str) -> str:
    """What an `approvals` command prints; with --json it is parsed by the caller."""
    result = run("approvals", *arguments, home=home, **settings)
    assert (result.returncode != 0) == fails, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr if fails else result.stdout


@pytest.mark.slow
def test_the_commands_show_ask_edit_and_delegate(tmp_path: Path, project: str, effects: Path):
    with serving("serve", "--project", project, home=tmp_path) as server:
        turn_id, approval_id = park(server)
        assert "send_mail(text='hello')" in said(tmp_path, "list", "--mine")
        said(tmp_path, "ask", approval_id, "Who is it for?")
        (waiting,) = server.client.get(f"/v1/turns/{turn_id}/approvals").json()["data"]
        answer = {"question_id": waiting["questions"][0]["id"], "answer": "for Ana"}
        server.client.post(f"/v1/turns/{turn_id}/answers", json=answer)
        assert "answer: for Ana" in said(tmp_path, "show", approval_id)
        assert "same as before" in said(tmp_path, "edit", approval_id, "--set", "text=hello", fails=True)
        assert "is approved" in said(tmp_path, "edit", approval_id, "--set", "text=dear Ana")
        assert ended(server, turn_id)["status"] == "completed"
        assert "text: 'hello' -> 'dear Ana'" in said(tmp_path, "show", approval_id)
        assert "first decision stands" in said(tmp_path, "reject", approval_id, "--reason", "no", fails=True)
        assert "local-operator  1 decisions" in said(tmp_path, "pace")
        assert "is not name=value" in said(tmp_path, "edit", approval_id, "--set", "text", fails=True)
        assert len(effects.read_text().splitlines()) == 1

        key = json.loads(
            run("keys", "create", "--subject", "ann", "--role", "approver", "--json", home=tmp_path).stdout
        )
        as_ann = {"HANDRAIL_API_KEY": key["key"]}
        made = json.loads(said(tmp_path, "delegate", "--to", "bob", "--days", "2", "--json", **as_ann))
        assert (made["lender"], made["delegate"], made["status"]) == ("ann", "bob", "in_force")
        assert "ann -> bob  approver  in force" in said(tmp_path, "delegations")
        assert "revoked" in said(tmp_path, "revoke", made["id"], "--url", server.address, **as_ann)
        assert "give an API key" in said(tmp_path, "list", "--url", server.address, fails=True)


@pytest.mark.slow
def test_the_same_mail_asked_for_twice_is_rejected_by_one_command(tmp_path: Path, project: str, effects: Path):
    with serving("serve", "--project", project, home=tmp_path) as server:
        parked = [park(server) for _ in range(2)]
        ids = [approval_id for _, approval_id in parked]
        assert said(tmp_path, "reject", *ids, "--reason", "not now").count("is rejected") == 2
        assert said(tmp_path, "list", "--all").count("rejected") == 2
        assert run("approvals", "reject", *ids, "--reason", "again", home=tmp_path).returncode == 1
        for turn_id, _ in parked:
            assert ended(server, turn_id)["status"] == "completed"
    assert not effects.exists()


@pytest.mark.slow
def test_a_chat_in_the_terminal_shows_the_question_and_the_outcome_by_itself(tmp_path: Path, project: str):
    with serving("serve", "--project", project, home=tmp_path) as server:
        chat = subprocess.Popen(
            [sys.executable, "-u", "-m", "handrail.cli", "chat"],
            env=environment(tmp_path, {}), cwd=tmp_path, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert chat.stdin is not None
        assert chat.stdout is not None
        told = Lines(chat.stdout)
        try:
            print("mail them", file=chat.stdin, flush=True)
            told.wait_for("needs a person's approval")
            approval_id = said(tmp_path, "list").split()[0]
            said(tmp_path, "ask", approval_id, "Who is it for?")
            told.wait_for("approver asks> Who is it for?")
            print("/answer for Ana", file=chat.stdin, flush=True)
            told.wait_for("your answer went to the person who decides")
            assert "answer: for Ana" in said(tmp_path, "show", approval_id)
            said(tmp_path, "approve", approval_id)
            told.wait_for("agent, on what waited> It is sent.")
            chat.stdin.close()
            assert chat.wait(10) == 0
        finally:
            chat.kill()
            chat.wait()
            told.close()
        assert server.client.get("/healthz").status_code == 200


class Lines:
    """What a process prints, read beside it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._text = ""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_for(self, text: str, seconds: float = 20.0) -> None:
        until = time.monotonic() + seconds
        while text not in self._text:
            assert time.monotonic() < until, self._text
            time.sleep(0.05)

    def close(self) -> None:
        self._thread.join()
        self._stream.close()

    def _read(self) -> None:
        while character := self._stream.read(1):
            self._text += character
