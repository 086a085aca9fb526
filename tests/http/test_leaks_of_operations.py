"""What people write around an approval is in no report, list, backup, name or label: planted, shown to arrive, sought.

`test_leaks.py` does the same for what is said in a conversation.
"""

import io
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from handrail.core import json
from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.principal import Principal, Role
from handrail.db import Database
from handrail.db.backup import back_up_sqlite
from handrail.flows.jobs import JOBS
from handrail.protection.encryption import Encryption, LocalMasterKeys
from handrail.protection.privacy import redact_event
from handrail.serving.conversations import ExportFolder
from handrail.serving.models import calls
from handrail.telemetry.logging import configure
from tests.flows.desk import Desk
from tests.flows.world import OPERATOR_TOKEN, PROJECT, World, closed, world_over
from tests.http.api import Api, api_over
from tests.http.test_leaks import Sinks, marks, planted

RULES = """
input: {max_characters: 500}
approvals:
- {name: mails, tools: [send_mail], risk: high, expires_after: 2h, reason: "Mail: {{ args.text }}"}
"""
FIELDS = ("message", "argument", "question", "reply", "reason", "sent", "answer")
# With these words the exports of whole conversations are made, for whoever runs the deployment to keep.
EXPORTED = ("message", "sent", "answer")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    written = io.StringIO()
    configure(redact_event, level="debug", json_lines=True, stream=written)
    yield written
    structlog.reset_defaults()


@pytest.fixture
async def world(
    sqlite_db: Database,
    clock: FrozenClock,
    desk: Desk,
    tmp_path: Path,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    encryption = Encryption(sqlite_db, tmp_path, LocalMasterKeys([b"m" * 32]), clock)
    await encryption.start()
    world = await world_over(sqlite_db, clock, project={**PROJECT, "policies.yaml": RULES}, encryption=encryption)
    world.services.background.exports = ExportFolder(tmp_path / "exports")
    desk.acts["send_mail"] = lambda text: {"status": planted("sent")}
    world.script(_reply)
    yield world
    await closed(world)


def _reply(request: Any) -> Any:
    asks = any(each.role == "tool" for each in request.messages[-1:])
    return planted("answer") if asks else calls(("send_mail", {"text": planted("argument")}))


async def _decided(api: Api, olga: str, ana: str) -> str:
    """An approval around which everybody wrote something; its id."""
    conversation = await api.open(ana)
    turns = f"/v1/conversations/{conversation}/turns"
    turn = (await api.post(turns, {"message": planted("message")}, key=ana)).json()
    (approval_id,) = turn["approvals"]
    path = f"/v1/approvals/{approval_id}"

    async def decide(decision: str, reason: str) -> None:
        shown = (await api.get(path, key=olga)).json()
        body = {"decision": decision, "fingerprint": shown["fingerprint"], "reason": reason}
        answer = await api.post(f"{path}/decision", body, key=olga)
        assert answer.is_success, answer.text

    await decide("info", planted("question"))
    (asked,) = (await api.get(path, key=olga)).json()["questions"]
    reply = {"question_id": asked["id"], "answer": planted("reply")}
    assert (await api.post(f"/v1/turns/{turn['id']}/answers", reply, key=ana)).is_success
    await decide("approve", planted("reason"))
    await api.world.settle(turn["id"])
    return approval_id


async def _reports(world: World) -> dict[str, bytes]:
    """What each job says that it did."""
    found: dict[str, bytes] = {}
    for job in JOBS.values():
        task, state = Task(f"run_{job.name}", job.name, "default" if job.of_tenant else DEPLOYMENT), dict[str, Any]()
        while not state.get("done"):
            state = dict(await job.page(world.services, task, state))
        await world.services.background.runs.end(task, report=state.get("report", {}))
        found[f"the report of {job.name}"] = json.dumps(state.get("report", {})).encode()
    return found


def _files(folder: Path) -> dict[Path, Path]:
    return {each.relative_to(folder): each for each in folder.rglob("*") if each.is_file()}


async def test_what_is_written_around_an_approval_is_where_it_belongs_and_nowhere_else(
    world: World, log: io.StringIO, tmp_path: Path
) -> None:
    async with api_over(world) as api:
        ana, olga = await api.key("ana"), await api.key("olga", role=Role.APPROVER)
        stranger = await api.key("olga", tenant="evil", role=Role.APPROVER)
        approval_id = await _decided(api, olga, ana)

        there = Sinks({"the approval": (await api.get(f"/v1/approvals/{approval_id}", key=olga)).content})
        turns = await world.services.conversations.newest(Principal("default", "ana"))
        messages = await world.services.conversations.messages(turns[0], limit=20)
        there.texts["the transcript"] = " ".join(each.content for each in messages).encode()
        calls_made = await world.services.conversations.turn_calls("default", messages[0].turn_id)
        there.texts["the tool call"] = " ".join(f"{each.arguments} {each.result}" for each in calls_made).encode()
        for field in FIELDS:
            assert there.holding(field), f"{field} arrived nowhere, so it can't be missing anywhere"

        sinks = Sinks(await _reports(world))
        for path in ("/metrics", "/readyz"):
            sinks.texts[path] = (await api.get(path)).content
        for path in ("/v1/approvals?status=all", f"/v1/approvals/{approval_id}"):
            sinks.texts[f"{path} for another tenant"] = (await api.get(path, key=stranger)).content
            sinks.texts[f"{path} for a user"] = (await api.get(path, key=ana)).content
        await world.services.audit.flush()
        await world.services.audit.seal()
        for path in ("/v1/audit", "/v1/audit/export", "/v1/jobs", *(f"/v1/jobs/{name}" for name in JOBS)):
            sinks.texts[f"{path} for staff"] = (await api.get(path, key=OPERATOR_TOKEN)).content
    sinks.texts["the log"] = log.getvalue().encode()
    back_up_sqlite(tmp_path / "handrail.db", tmp_path / "backup.db")
    files = _files(tmp_path)
    assert {"handrail.db", "handrail.db-wal", "keys.db", "backup.db"} <= {str(name) for name in files}
    sinks.texts |= {str(name): each.read_bytes() for name, each in files.items() if name.parts[0] != "exports"}
    sinks.texts["names of files"] = "\n".join(map(str, files)).encode()
    assert sinks.holding(*FIELDS) == []

    exports = Sinks({str(name): each.read_bytes() for name, each in files.items() if name.parts[0] == "exports"})
    assert [field for field in EXPORTED if not exports.holding(field)] == [], "what is there is found"


async def test_an_anonymised_log_holds_no_address_whoever_shares_it(world: World) -> None:
    async with api_over(world) as api:
        olga = await api.key("olga", role=Role.APPROVER)
        for user in ("ana", "ben"):
            await _decided(api, olga, await api.key(user))
        log = await api.get("/v1/conversation-log?k=2", key=OPERATOR_TOKEN)
        assert len(log.text.splitlines()) == 3
        kept = await api.get("/v1/conversation-log?k=2&words=keep", key=OPERATOR_TOKEN)
    for where in FIELDS:
        assert marks(where)[1] not in kept.content + log.content
