"""An anonymised log tells what people talk about, and of nobody that they did."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.core.principal import Principal, Role
from handrail.flows.log_export import LogExportRuns, LogRequest, TooFewUsers, anonymised_log, log_page
from handrail.flows.rollup import Windows, catch_up
from handrail.protection.audit import AuditQuery
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied
from handrail.serving.conversations import ExportFolder
from tests.flows.desk import Desk
from tests.flows.world import OPERATOR_TOKEN, World
from tests.http.api import api_over

COMMON = "hello there, I would like to talk"


async def told(world: World, asked: LogRequest | None = None, by: Principal = LOCAL_OPERATOR) -> list[Any]:
    lines = await anonymised_log(world.services, by, asked or LogRequest(k=3))
    return [json.loads(line) async for line in lines]


async def talk(world: World, users: int = 3, *more: str) -> None:
    """So many users say the same; the first of them says more."""
    for number in range(users):
        who = Principal("default", f"user-{number}")
        conversation = await world.open(who)
        for text in (COMMON, *(more if number == 0 else ())):
            world.script("Hello there, what would you like?")
            await world.say(conversation, text, who)


def lines_of(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


class TestBySchedule:
    async def run(self, world: World, task: Task) -> Any:
        state: Any = {}
        while not state.get("done"):
            state = await log_page(world.services, task, state)
        return state["report"]

    async def test_writes_a_file_of_each_tenant_that_has_the_users_and_says_of_which_not(
        self, any_world: World, clock: FrozenClock, tmp_path: Path
    ) -> None:
        services = any_world.services
        services.background.exports, services.log_days = ExportFolder(tmp_path), 1
        await talk(any_world, 5, "my name is Zoltan Kovacs")
        clock.advance(24 * 3600)
        await catch_up(services, Windows(services).of)
        report = await self.run(any_world, Task("due-conversation_log-1", "conversation_log", DEPLOYMENT))
        assert report["default"]["conversations"] == 5
        header, *lines = lines_of(report["default"]["file"])
        assert (json.loads(header)["words_masked"], len(lines)) == (True, 5)
        assert "zoltan" not in str(lines).lower()
        again = await self.run(any_world, Task("due-conversation_log-1", "conversation_log", DEPLOYMENT))
        assert len(lines_of(again["default"]["file"])) == 6, "a page that runs again begins anew"

    @pytest.mark.parametrize(("days", "report"), [(0, {}), (1, {"default": {"too_few_users": 5}})])
    async def test_writes_nothing_unless_it_is_asked_for_or_of_too_few(
        self, world: World, clock: FrozenClock, tmp_path: Path, days: int, report: Any
    ) -> None:
        world.services.background.exports, world.services.log_days = ExportFolder(tmp_path / "logs"), days
        await talk(world, 2)
        clock.advance(24 * 3600)
        await catch_up(world.services, Windows(world.services).of)
        assert await self.run(world, Task("due-conversation_log-1", "conversation_log", DEPLOYMENT)) == report
        assert world.services.background.exports.files() == []


class TestALog:
    async def test_holds_what_many_say_and_a_header(self, any_world: World) -> None:
        await talk(any_world)
        header, *lines = await told(any_world)
        assert header == {"object": "conversation_log", "k": 3, "words_masked": True}
        assert len(lines) == 3
        (turn,) = lines[0]["turns"]
        assert [each["content"] for each in turn["messages"]] == [COMMON, "Hello there, what would you like?"]
        assert (turn["intent"], turn["status"], lines[0]["agent"]) == ("chat", "completed", "shop")

    async def test_holds_no_personal_data_no_number_and_no_rare_word(self, world: World) -> None:
        await talk(world, 3, "my name is Zoltan Kovacs, zoltan@example.org, order A1001, flat 2201")
        text = json.dumps(await told(world))
        for each in ("zoltan", "kovacs", "example.org", "a1001", "2201"):
            assert each not in text.lower()

    async def test_a_name_that_the_detectors_miss_is_a_rare_word(self, world: World) -> None:
        await talk(world, 3, "please tell zeligowa that the xylophone has come")
        assert "zeligowa" in json.dumps(await told(world, LogRequest(k=3, masks_words=False)))
        assert "zeligowa" not in json.dumps(await told(world))

    async def test_what_one_user_says_in_many_conversations_is_still_one_user_s(self, world: World) -> None:
        await talk(world)
        for _ in range(4):
            conversation = await world.open()
            await world.say(conversation, "zeligowa")
        assert "zeligowa" not in json.dumps(await told(world))

    async def test_holds_no_id_and_no_time_of_the_transcript(self, world: World) -> None:
        await talk(world)
        stored = await world.services.conversations.newest(Principal("default", "user-0"))
        text = json.dumps(await told(world))
        assert stored[0].id not in text
        assert "user-0" not in text
        assert not re.search(r"turn_|msg_|call_|\d\d:\d\d|2026-\d\d", text)
        first, second = [{each["id"] for each in (await told(world))[1:]} for _ in range(2)]
        assert first & second == set()

    async def test_a_tool_call_shows_of_what_kinds_its_arguments_are(self, world: World, desk: Desk) -> None:
        desk.acts["get_order"] = lambda order: {"status": "lost in Zanzibar"}
        world.head.knows("where is my order A1001", "order_status")
        for number in range(3):
            who = Principal("default", f"user-{number}")
            await world.say(await world.open(who), "where is my order A1001", who)
        _, line, *_ = await told(world)
        assert line["turns"][0]["tools"] == [{"name": "get_order", "status": "completed", "arguments": ["text"]}]

    async def test_an_intent_that_few_users_have_is_told_as_other(self, world: World, desk: Desk) -> None:
        desk.acts["opening_hours"] = lambda: {"from": 9}
        world.head.knows("when are you open", "hours")
        await talk(world, 3, "when are you open")
        lines = (await told(world))[1:]
        assert {turn["intent"] for line in lines for turn in line["turns"]} == {"chat", "other"}
        assert {tool["name"] for line in lines for turn in line["turns"] for tool in turn["tools"]} == {"other"}

    async def test_is_of_the_agent_the_release_and_the_period_that_are_asked_for(
        self, any_world: World, clock: FrozenClock
    ) -> None:
        await talk(any_world)
        clock.advance(8 * 24 * 3600)
        middle = clock.micros()
        await talk(any_world)
        assert len(await told(any_world, LogRequest(k=3, since=middle))) == 4
        assert len(await told(any_world, LogRequest(k=3, until=middle, agent="shop"))) == 4
        for nothing in (LogRequest(k=3, agent="other"), LogRequest(k=3, release_id="rel_0"), LogRequest(since=1 << 61)):
            with pytest.raises(TooFewUsers):
                await told(any_world, nothing)


class TestWho:
    async def test_an_admin_of_the_tenant_and_nobody_else(self, world: World) -> None:
        await talk(world)
        with pytest.raises(PermissionDenied):
            await told(world, by=Principal("default", "op", frozenset({Role.OPERATOR})))
        admin = Principal("acme", "root", frozenset({Role.ADMIN}))
        with pytest.raises(TooFewUsers):
            await told(world, by=admin)
        with pytest.raises(PermissionDenied):
            await told(world, LogRequest(tenant="default"), by=admin)

    async def test_it_is_audited_before_the_first_line(self, world: World) -> None:
        await talk(world)
        await anonymised_log(world.services, LOCAL_OPERATOR, LogRequest(k=3))
        (record,) = await world.services.audit.store.search(AuditQuery("default", action="conversation_log.exported"))
        assert record.outcome == "done"

    async def test_too_few_users_are_nobody_s_business(self, world: World) -> None:
        await talk(world, 2)
        with pytest.raises(TooFewUsers, match="fewer than 3"):
            await told(world)

    async def test_one_at_a_time(self, world: World) -> None:
        await talk(world)
        lines = await anonymised_log(world.services, LOCAL_OPERATOR, LogRequest(k=3))
        await anext(lines)
        with pytest.raises(LogExportRuns):
            await told(world)
        await lines.aclose()
        assert len(await told(world)) == 4


class TestOverHttp:
    async def test_the_lines_come_as_they_are_and_a_query_that_is_none_is_named(self, world: World) -> None:
        await talk(world)
        async with api_over(world) as api:
            answer = await api.get("/v1/conversation-log?k=3", key=OPERATOR_TOKEN)
            assert answer.headers["content-type"].startswith("application/x-ndjson")
            assert len(answer.text.splitlines()) == 4
            wrong = dict.fromkeys(("k=1", "k=x", "words=all", "since=monday"), "invalid_request")
            for query, code in {**wrong, "k=9": "too_few_users"}.items():
                refused = await api.get(f"/v1/conversation-log?{query}", key=OPERATOR_TOKEN)
                assert (refused.json()["error"]["code"], refused.status_code // 100) == (code, 4)
