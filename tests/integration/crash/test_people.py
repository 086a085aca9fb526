"""Killed in the middle of what people ask for: it is done whole, with its audit record, or not at all, and once."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from handrail.protection.auth import operator_token
from tests.integration.crash.fleet import Server
from tests.integration.crash.test_crash import SHORT_LEASE, Scene, scene
from tests.integration.crash.verdict import effects_in, judge, rows_of
from tests.servers import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
ROUNDS = 3
ENDS_WITHIN = 60.0
LOST = (aiohttp.ClientError, OSError, TimeoutError)


class Desk:
    """An operator with two servers, of which one dies while it is asked."""

    def __init__(self, stage: Scene, http: aiohttp.ClientSession, token: str) -> None:
        self.stage, self._http = stage, http
        self._headers = {"authorization": f"Bearer {token}"}
        self.dies, self.stays = stage.servers

    async def at(self, server: Server, method: str, path: str, body: Any = None, *, operator: bool = True) -> Any:
        headers = self._headers if operator else {}
        async with self._http.request(method, f"{server.address}{path}", json=body, headers=headers) as answer:
            assert answer.status < 300, f"{method} {path}: {answer.status} {await answer.text()}"
            return await answer.json()

    async def killed_at(self, path: str, body: Any) -> Any | None:
        """Ask, and kill whoever is asked within the time that this takes; the answer, if there was one."""
        asking = asyncio.create_task(self.at(self.dies, "POST", path, body))
        await asyncio.sleep(self.stage.rng.uniform(0.0, 0.03))
        await self.dies.send(signal.SIGKILL)
        try:
            return await asking
        except LOST:
            return None

    async def parked(self, note: int) -> tuple[str, dict[str, Any]]:
        """A turn that waits for people, and its approval."""
        conversation = (await self.at(self.stays, "POST", "/v1/conversations", {}, operator=False))["id"]
        plan = {"rounds": [[["ship", {"before": note, "after": 0}]]], "answer": "It is done.", "gap": 0}
        path = f"/v1/conversations/{conversation}/turns"
        turn = await self.at(self.stays, "POST", path, {"message": json.dumps(plan)}, operator=False)
        return turn["id"], await self.at(self.stays, "GET", f"/v1/approvals/{turn['approvals'][0]}")

    async def status(self, turn_id: str) -> str:
        return (await self.at(self.stays, "GET", f"/v1/turns/{turn_id}", operator=False))["status"]

    async def recorded(self, action: str) -> int:
        return len((await self.at(self.stays, "GET", f"/v1/audit?action={action}&limit=200"))["data"])


async def delegate(desk: Desk, number: int) -> None:
    body = {"to": f"delegate-{number}", "days": 1, "reason": "a holiday"}
    answer = await desk.killed_at("/v1/delegations", body)
    made = (await desk.at(desk.stays, "GET", "/v1/delegations"))["data"]
    mine = [each for each in made if each["delegate"] == body["to"]]
    assert len(mine) <= 1
    assert answer is None or len(mine) == 1
    assert await desk.recorded("delegation.made") == len(made)


async def switch(desk: Desk, number: int) -> None:
    body = {"kind": "tool", "name": f"tool-{number}", "reason": "it does too much"}
    answer = await desk.killed_at("/v1/switches", body)
    made = (await desk.at(desk.stays, "GET", "/v1/switches?status=all"))["data"]
    assert answer is None or answer["id"] in {each["id"] for each in made}
    assert await desk.recorded("switch.off") == len(made)
    again = await desk.at(desk.stays, "POST", "/v1/switches", body)
    assert [each["id"] for each in made if each["name"] == body["name"]] in ([], [again["id"]])


async def decide_together(desk: Desk, number: int) -> None:
    waiting = [await desk.parked(number) for _ in range(3)]
    picked = [{"id": each["id"], "fingerprint": each["fingerprint"]} for _, each in waiting]
    await desk.killed_at("/v1/approvals/decisions", {"decision": "approve", "approvals": picked})
    for turn_id, approval in waiting:
        seen = await desk.at(desk.stays, "GET", f"/v1/approvals/{approval['id']}")
        if seen["status"] == "pending":
            ballot = {"decision": "approve", "fingerprint": approval["fingerprint"]}
            await desk.at(desk.stays, "POST", f"/v1/approvals/{approval['id']}/decision", ballot)
        await until(lambda turn_id=turn_id: is_completed(desk, turn_id))


async def ask(desk: Desk, number: int) -> None:
    turn_id, approval = await desk.parked(number)
    ballot = {"decision": "info", "fingerprint": approval["fingerprint"], "reason": f"which one of {number}?"}
    answer = await desk.killed_at(f"/v1/approvals/{approval['id']}/decision", ballot)
    seen = await desk.at(desk.stays, "GET", f"/v1/approvals/{approval['id']}")
    assert answer is None or seen["questions"]
    assert len(seen["questions"]) == len(seen["votes"])
    ballot = {"decision": "reject", "fingerprint": seen["fingerprint"], "reason": "nobody answers"}
    await desk.at(desk.stays, "POST", f"/v1/approvals/{approval['id']}/decision", ballot)
    await until(lambda: is_completed(desk, turn_id))


async def export(desk: Desk, number: int) -> None:
    answer = await desk.killed_at("/v1/jobs/export_conversations/runs", None)
    runs = (await desk.at(desk.stays, "GET", "/v1/jobs/export_conversations"))["runs"]
    assert answer is None or answer["id"] in {each["id"] for each in runs}
    assert await desk.recorded("job.requested") == len(runs)


async def is_completed(desk: Desk, turn_id: str) -> bool:
    return await desk.status(turn_id) == "completed"


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(ENDS_WITHIN):
        while not await holds():  # noqa: ASYNC110 - what another process does is no event here
            await asyncio.sleep(0.1)


ACTIONS: Sequence[Callable[[Desk, int], Awaitable[None]]] = (delegate, switch, decide_together, ask, export)


@pytest.mark.valkey
async def test_what_people_ask_for_is_whole_or_not_there_when_the_process_dies(
    tmp_path: Path, blank_postgres_url: str, valkey_url: str
):
    settings = SHORT_LEASE | {"HANDRAIL_VALKEY_URL": valkey_url}
    async with scene(tmp_path, blank_postgres_url, ["one", "two"], settings) as stage, aiohttp.ClientSession() as http:
        desk = Desk(stage, http, operator_token(tmp_path / "data"))
        for number in range(ROUNDS):
            for action in ACTIONS:
                await action(desk, number)
                await desk.dies.start()
        runs = "/v1/jobs/export_conversations"

        async def all_ended() -> bool:
            found = (await desk.at(desk.stays, "GET", runs))["runs"]
            return all(each["status"] == "completed" for each in found)

        await until(all_ended)
        verdict = judge(await rows_of(stage.url), effects_in(stage.effects), [])
        assert not verdict.broken, verdict.broken
        assert verdict.effects == 3 * ROUNDS


async def test_a_database_that_crashes_under_load_is_found_again_and_nothing_is_lost_or_done_twice(tmp_path: Path):
    postgres = PostgresServer(durable=True).start()
    try:
        connection = await asyncpg.connect(postgres.url())
        await connection.execute("CREATE DATABASE crash")
        await connection.close()
        async with scene(tmp_path, postgres.url("crash"), ["one", "two"], SHORT_LEASE) as stage:
            async with asyncio.TaskGroup() as group:
                talks = [group.create_task(stage.crowd.talk()) for _ in range(12)]
                for how in (signal.SIGQUIT, signal.SIGINT):
                    await asyncio.sleep(stage.rng.uniform(2.0, 3.0))
                    await asyncio.to_thread(postgres.stop, how)
                    await asyncio.sleep(1.0)
                    await asyncio.to_thread(postgres.start)
                await asyncio.sleep(3.0)
                stage.crowd.stopping = True
            verdict = await stage.settled([each.result() for each in talks])
            print(f"a database that crashed twice: {verdict.turns} turns, ends {dict(verdict.ends)}", flush=True)
            assert not verdict.broken, "\n".join(verdict.broken[:20])
    finally:
        postgres.remove()
