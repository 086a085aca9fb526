"""`handrail serve --workers 2`: one address, two processes that answer, and one that looks after them."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.integration.processes import Process, Provider, agent_project, run, serving
from tests.integration.test_replicas import until

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def server(tmp_path: Path, provider: Provider, blank_postgres_url: str) -> Iterator[Process]:
    project = agent_project(tmp_path / "talker", provider)
    settings = {"HANDRAIL_DATABASE_URL": blank_postgres_url, "HANDRAIL_RATE_LIMIT__BURST": "1000"}
    with serving("serve", "--project", str(project), "--workers", "2", home=tmp_path, **settings) as process:
        until(lambda: len(workers_of(process)) == 2)
        yield process
        process.send(signal.SIGTERM)
        process.ended()


def workers_of(process: Process) -> list[int]:
    """The process ids of the workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(each) for each in children.read_text().split()] if children.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def ask(process: Process) -> httpx2.Response:
    """A turn over connections of its own, which any worker may take."""
    with httpx2.Client(base_url=process.address, timeout=20) as client:
        conversation = client.post("/v1/conversations", json={}).json()["id"]
        return client.post(f"/v1/conversations/{conversation}/turns", json={"message": "hello"})


def answered(process: Process) -> float:
    """Turns that were answered, as whichever worker is asked has counted them."""
    page = httpx2.get(f"{process.address}/metrics", timeout=20).text
    return sum(float(each) for each in re.findall(r"^agent_requests_total{.*} (\S+)$", page, re.MULTILINE))


def test_sqlite_has_one_owner_and_is_refused(tmp_path: Path):
    refused = run("serve", "--workers", "2", "--port", "0", home=tmp_path)
    assert refused.returncode == 1
    assert "2 workers need PostgreSQL" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_project_that_can_t_be_used_is_said_and_no_worker_starts(tmp_path: Path, blank_postgres_url: str):
    refused = run("serve", "--workers", "2", "--port", "0", home=tmp_path, HANDRAIL_DATABASE_URL=blank_postgres_url)
    assert refused.returncode == 1
    assert "agent.yaml" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_workers_count_together_and_one_that_is_killed_is_replaced(server: Process):
    before = workers_of(server)
    for _ in range(10):
        assert ask(server).status_code == 200
    assert {answered(server) for _ in range(6)} == {10.0}
    os.kill(before[0], signal.SIGKILL)
    for _ in range(10):
        assert ask(server).status_code == 200, "the other one answers"
    until(lambda: len(set(workers_of(server)) - set(before)) == 1)
    assert before[1] in workers_of(server)
    assert ask(server).status_code == 200
    assert {answered(server) for _ in range(6)} == {21.0}, "what the dead one counted is not lost"
    assert "a worker died" in server.said()


def test_a_signal_lets_turns_end_and_leaves_no_process_behind(server: Process, provider: Provider):
    provider.says, provider.gap = "one two three four five", 0.2
    workers = workers_of(server)
    with httpx2.Client(base_url=server.address, timeout=20) as client:
        conversation = client.post("/v1/conversations", json={}).json()["id"]
        path, body = f"/v1/conversations/{conversation}/turns", {"message": "count"}
        with client.stream("POST", path, json=body, headers={"accept": "text/event-stream"}) as response:
            events = response.iter_text()
            seen = next(events)
            server.send(signal.SIGTERM)
            seen += "".join(events)
    assert "turn.completed" in seen
    assert server.ended() == 0
    assert not any(is_alive(each) for each in workers)


def test_workers_whose_supervisor_is_killed_end_too(server: Process):
    workers = workers_of(server)
    time.sleep(1)
    server.send(signal.SIGKILL)
    server.ended()
    until(lambda: not any(is_alive(each) for each in workers))
