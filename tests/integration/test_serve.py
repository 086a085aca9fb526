"""What only a real process can show: starting, being killed, stopping, and sharing a database."""

import contextlib
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from handrail.cli.serve import example_project
from tests.http.api import parsed, shown
from tests.integration.processes import Process, Provider, agent_project, run, serving


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def project(tmp_path: Path, provider: Provider) -> Path:
    return agent_project(tmp_path / "talker", provider)


def first_words(client: httpx2.Client, conversation: str, message: str) -> tuple[str, str, str]:
    """Stream a turn until some text is there, and drop: the turn's id, the last event's id and the text."""
    path = f"/v1/conversations/{conversation}/turns"
    with client.stream("POST", path, json={"message": message}, headers={"accept": "text/event-stream"}) as response:
        turn_id = response.headers["x-handrail-turn-id"]
        text = ""
        for chunk in response.iter_text():
            for event in parsed(chunk):
                if event.name == "message.delta":
                    text += event.data["text"]
                    return turn_id, event.id, text
    raise AssertionError("the turn ended without a word")


@pytest.mark.slow
def test_a_scaffolded_project_runs_at_once(tmp_path: Path):
    made = run("init", "my-agent", home=tmp_path)
    assert made.returncode == 0, made.stderr
    with serving("serve", "--project", str(tmp_path / "my-agent"), home=tmp_path) as server:
        conversation = server.open()
        assert server.say(conversation, "hello")["status"] == "completed"
        assert server.client.get("/readyz").json()["status"] == "ready"
        server.send(signal.SIGINT)
        assert server.ended() == 0


@pytest.mark.slow
def test_the_shop_is_served_from_a_folder_that_can_t_be_written(tmp_path: Path):
    project = tmp_path / "shop"
    for file in sorted(example_project("shop").rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            target = project / file.relative_to(example_project("shop"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
            target.chmod(stat.S_IRUSR)
    folders = [project, *(each for each in project.rglob("*") if each.is_dir())]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    before = sorted(project.rglob("*"))
    try:
        with serving("serve", "--project", str(project), home=tmp_path / "home") as server:
            said = server.say(server.open(), "where is my order A1001?")
            assert said["route"]["intent"] == "order_status"
            assert "A1001" in said["message"]["content"]
        assert sorted(project.rglob("*")) == before
    finally:
        for folder in folders:
            folder.chmod(stat.S_IRWXU)


def test_a_server_that_is_killed_in_a_turn_goes_on_after_a_restart(tmp_path: Path, project: Path, provider: Provider):
    provider.says, provider.gap = "first answer", 0
    with serving("serve", "--project", str(project), home=tmp_path) as server:
        conversation = server.open()
        kept = server.say(conversation, "hello", idempotency_key="k1")
        provider.says, provider.gap = " ".join(["word"] * 100), 0.1
        turn_id, last, text = first_words(server.client, conversation, "talk to me")
        assert text.startswith("word")
        server.send(signal.SIGKILL)
        assert server.ended() == -signal.SIGKILL

    provider.says, provider.gap = "second answer", 0
    with serving("serve", "--project", str(project), home=tmp_path, HANDRAIL_LOG_LEVEL="debug") as server:
        resumed = server.client.get(f"/v1/turns/{turn_id}/events", headers={"last-event-id": last})
        seen = list(parsed(resumed.text))
        assert (seen[-1].name, shown(seen)) == ("turn.completed", "second answer")
        assert server.transcript(conversation) == [
            ("user", "hello"), ("assistant", "first answer"), ("user", "talk to me"), ("assistant", "second answer"),
        ]  # fmt: skip
        assert server.say(conversation, "hello", idempotency_key="k1") == kept
        assert server.say(conversation, "again")["message"]["content"] == "second answer"
        assert "taken over" in server.said()
        assert "answer" not in server.said()


def ask_apart(server: Process, conversation: str, message: str, answers: list[httpx2.Response]) -> threading.Thread:
    """Send a message from a thread of its own; the answer goes to `answers`, an error of the transport nowhere."""

    def ask() -> None:
        with contextlib.suppress(httpx2.TransportError):
            path = f"{server.address}/v1/conversations/{conversation}/turns"
            answers.append(httpx2.post(path, json={"message": message}, timeout=20))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def stored(home: Path) -> list[tuple[str, str]]:
    """(role, content) of every message in the database, in order."""
    with contextlib.closing(sqlite3.connect(home / "data" / "handrail.db")) as connection:
        return connection.execute("SELECT role, content FROM message ORDER BY turn_seq, position").fetchall()


def test_a_server_that_is_told_to_stop_lets_its_turn_end(tmp_path: Path, project: Path, provider: Provider):
    provider.says, provider.gap = "one two three four five", 0.2
    answers: list[httpx2.Response] = []
    with serving("serve", "--project", str(project), home=tmp_path) as server:
        asking = ask_apart(server, server.open(), "count", answers)
        time.sleep(0.4)
        began = time.monotonic()
        server.send(signal.SIGTERM)
        asking.join()
        assert server.ended() == 0
        assert time.monotonic() - began < 5
    assert answers[0].json()["message"]["content"] == "one two three four five"
    assert stored(tmp_path) == [("user", "count"), ("assistant", "one two three four five")]


def test_a_second_signal_stops_turns_whose_clients_have_left(tmp_path: Path, project: Path, provider: Provider):
    provider.says, provider.gap = " ".join(["word"] * 100), 0.2
    with serving("serve", "--project", str(project), home=tmp_path, HANDRAIL_TURN__DRAIN_SECONDS="60") as server:
        first_words(server.client, server.open(), "count")
        server.client.close()
        server.send(signal.SIGTERM)
        # Nobody is connected any more: the server has closed its doors and waits for the turn alone.
        time.sleep(1)
        server.send(signal.SIGTERM)
        assert server.ended() == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "handrail.db")) as connection:
        (status, lease) = connection.execute("SELECT status, lease_expires_at FROM turn").fetchone()
    assert status == "running"
    assert lease < time.time() * 1e6, "its lease is let go: whoever comes next takes it over at once"


class TestATurnThatOutlastsTheDrain:
    @pytest.fixture
    def stopped(self, tmp_path: Path, project: Path, provider: Provider) -> list[httpx2.Response]:
        """What the clients of a running and of a waiting turn were answered."""
        provider.says, provider.gap = " ".join(["word"] * 100), 0.2
        answers: list[httpx2.Response] = []
        with serving("serve", "--project", str(project), home=tmp_path, HANDRAIL_TURN__DRAIN_SECONDS="1") as server:
            conversation = server.open()
            asking = []
            for message in ("running", "waiting"):
                asking.append(ask_apart(server, conversation, message, answers))
                time.sleep(0.3)
            began = time.monotonic()
            server.send(signal.SIGTERM)
            assert server.ended() == 0
            assert time.monotonic() - began < 5
            for thread in asking:
                thread.join()
        return answers

    def test_goes_on_when_the_server_is_back(
        self, stopped: list[httpx2.Response], tmp_path: Path, project: Path, provider: Provider
    ):
        assert [content for _, content in stored(tmp_path)] == ["running", "waiting"]
        provider.says, provider.gap = "here I am", 0
        with serving("serve", "--project", str(project), home=tmp_path):
            until = time.monotonic() + 10
            while len(stored(tmp_path)) < 4 and time.monotonic() < until:
                time.sleep(0.1)
        assert [content for role, content in stored(tmp_path) if role == "assistant"] == ["here I am"] * 2

    def test_is_told_to_its_clients(self, stopped: list[httpx2.Response]):
        assert [answer.json()["error"]["code"] for answer in stopped] == ["shutting_down"] * 2


def test_a_second_server_on_the_same_data_is_refused_with_the_address_of_the_first(
    tmp_path: Path, project: Path, provider: Provider
):
    with serving("serve", "--project", str(project), home=tmp_path) as server:
        refused = run("serve", "--project", str(project), "--port", "0", home=tmp_path)
        assert refused.returncode == 1
        assert server.address in refused.stderr
        assert "Traceback" not in refused.stderr
        assert server.say(server.open(), "hello")["status"] == "completed"


@pytest.mark.postgres
def test_two_servers_on_one_postgres_serve_the_same_conversations(
    tmp_path: Path, project: Path, provider: Provider, blank_postgres_url: str
):
    url = blank_postgres_url
    provider.says, provider.gap = "one two three", 0.1
    arguments = ("serve", "--project", str(project), "--database-url", url)
    with serving(*arguments, home=tmp_path / "a") as one, serving(*arguments, home=tmp_path / "b") as two:
        conversation = one.open()
        one.say(conversation, "hello")
        assert two.say(conversation, "hello again")["message"]["content"] == "one two three"
        assert one.transcript(conversation) == two.transcript(conversation)
        assert len(one.transcript(conversation)) == 4

        turn_id, last, text = first_words(one.client, conversation, "and again")
        elsewhere = two.client.get(f"/v1/turns/{turn_id}/events", headers={"last-event-id": last})
        seen = list(parsed(elsewhere.text))
        assert shown(seen) == "one two three"
        assert text in shown(seen)
        one.send(signal.SIGTERM)
        assert one.ended() == 0
        assert two.say(conversation, "still there?")["status"] == "completed"
