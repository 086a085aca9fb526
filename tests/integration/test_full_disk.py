"""A real server whose disk takes nothing more, and then has room again: what was said to be done is done."""

import resource
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from handrail.protection.auth import operator_token
from tests.http.api import parsed
from tests.integration.processes import Process, Provider, agent_project, run, serving

pytestmark = pytest.mark.slow
ROOM = 4096


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


@contextmanager
def full(process: Process) -> Iterator[None]:
    """No file of the process grows beyond a page: its database, that of its jobs, its audit log, its log lines."""
    process.pad_log(ROOM)
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def wait_until_counted(path: Path, *, turns: int) -> None:
    """What ended before and after is counted and traced once, though the disk took none of it meanwhile."""
    sought = (
        "SELECT (SELECT count(*) FROM fact_change), (SELECT sum(turns) FROM turn_rollup WHERE grain = 'day'), "
        "(SELECT count(DISTINCT turn_id) FROM trace), (SELECT count(*) FROM trace)"
    )
    until = time.monotonic() + 20
    with closing(sqlite3.connect(path)) as connection:
        while (seen := connection.execute(sought).fetchone()) != (0, turns, turns, turns):
            assert time.monotonic() < until, seen
            time.sleep(0.1)


def wait_until_said(process: Process, words: str) -> None:
    # With the next line: that of the run, which may wait half a minute for an engine that was refused.
    until = time.monotonic() + 60
    while words not in process.said():
        assert time.monotonic() < until, process.said().replace(" " * ROOM, "")
        time.sleep(0.1)


def test_a_full_disk_is_said_loses_nothing_and_is_forgiven_without_a_restart(tmp_path: Path, provider: Provider):
    project = agent_project(tmp_path / "talker", provider)
    with serving("serve", "--project", str(project), home=tmp_path) as server:
        conversation, operator = server.open(), f"Bearer {operator_token(tmp_path / 'data')}"
        turns, runs = f"/v1/conversations/{conversation}/turns", "/v1/jobs/retention/runs"
        server.say(conversation, "before")
        with full(server):
            for path, headers in ((turns, {}), ("/v1/conversations", {}), (runs, {"authorization": operator})):
                body = {"message": "now"} if path == turns else {}
                answer = server.client.post(path, json=body, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable"), path
                assert int(answer.headers["retry-after"]) >= 1
                assert "free its disk" in answer.json()["error"]["message"]
            assert server.client.get("/healthz").status_code == 200
            # The clocks of leases, audit and jobs look in vain meanwhile.
            time.sleep(3)
        assert server.say(conversation, "after")["status"] == "completed"
        assert [text for role, text in server.transcript(conversation) if role == "user"] == ["before", "after"]
        wait_until_counted(tmp_path / "data" / "handrail.db", turns=2)
        assert server.client.post(runs, headers={"authorization": operator}).status_code == 202
        verified = run("audit", "verify", home=tmp_path)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert run("db", "check", home=tmp_path).returncode == 0
        wait_until_said(server, '"event":"log lines could not be written"')


def test_a_turn_that_ends_on_a_full_disk_is_never_said_to_be_complete(tmp_path: Path, provider: Provider):
    project = agent_project(tmp_path / "talker", provider)
    provider.says, provider.gap = "one two three four", 0.5
    with serving("serve", "--project", str(project), home=tmp_path) as server, ThreadPoolExecutor() as pool:
        conversation = server.open()
        path = f"/v1/conversations/{conversation}/turns"
        headers = {"accept": "text/event-stream"}
        asked = pool.submit(server.client.post, path, json={"message": "count"}, headers=headers)
        time.sleep(0.7)
        with full(server):
            seen = list(parsed(asked.result(20).text))
            assert (seen[-1].name, seen[-1].data["error"]["code"]) == ("turn.failed", "store_unavailable")
        provider.gap = 0
        assert server.say(conversation, "and now?")["status"] == "completed"
        stored = server.client.get(f"/v1/turns/{seen[-1].data['id']}").json()
        assert (stored["status"], stored["error"]["code"]) == ("failed", "store_unavailable")
