"""A user is given everything that is stored of them: a row is planted in each table that could hold any."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Integer, Table, insert
from sqlalchemy.sql.sqltypes import Float, LargeBinary, Numeric

from handrail.bootstrap import services_from
from handrail.core import json
from handrail.core.principal import Role
from handrail.db import Prepared
from handrail.db.metadata import metadata
from handrail.flows.access_request import LEFT_OUT, told_of
from handrail.flows.data_classes import DATA_CLASSES
from handrail.flows.services import Services
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.settings import read_settings

# What makes a row somebody's: that it names them, or hangs on their conversation.
HANGS_ON = {"conversation_id", "turn_id", "approval_id", "subject"}
# Parents first.
FIRST = ("conversation", "turn", "approval")
# Columns for which not every text will do.
FITTING = {
    ("turn", "status"): "completed",
    ("message", "role"): "assistant",
    ("message", "tool_calls"): '[{"id": "call_1", "name": "refund", "arguments": "planted-message-tool_calls"}]',
    ("message", "sources"): None,
    ("conversation", "awaiting"): '{"kind": "slot", "intent": "a", "state": {"a": "planted-conversation-awaiting"}}',
    ("approval", "status"): "approved",
    ("approval", "risk"): "high",
    ("approval", "approvers"): '{"clauses": [], "requester_may_approve": false}',
    ("approval", "rules"): "[]",
    ("approval_vote", "decision"): "approve",
    ("escalation", "status"): "open",
    ("feedback", "kind"): "text",
    ("feedback", "source"): "user",
    ("review_verdict", "sample"): "routine",
    ("api_key", "role"): "end_user",
    ("trace", "spans"): "[]",
    ("trace", "link"): None,
}  # fmt: skip
JSON = {
    "scopes", "teams", "roles", "route", "ladder", "capacity", "contribution", "tripped", "parked", "diff", "summary",
    "arguments", "original_arguments",
}  # fmt: skip


def is_somebodys(name: str) -> bool:
    classes, columns = DATA_CLASSES[name], set(metadata.tables[name].columns.keys())
    return bool(classes.content or classes.subject or columns & HANGS_ON)


@pytest.fixture(scope="module")
def tables() -> list[str]:
    found = [name for name in DATA_CLASSES if is_somebodys(name)]
    return sorted(found, key=lambda name: (name not in FIRST, FIRST.index(name) if name in FIRST else 0))


def planted(table: str, column: str) -> str:
    return f"planted-{table}-{column}"


def _value(table: Table, name: str, whose: str) -> Any:
    column, classes = table.c[name], DATA_CLASSES[table.name]
    if (table.name, name) in FITTING:
        return FITTING[table.name, name]
    if name in classes.subject.split() or name == "subject":
        return whose
    if name == "tenant_id":
        return "default"
    if name in ("conversation_id", "turn_id", "approval_id"):
        return f"{name.removesuffix('_id')}-of-{whose}"
    if name == "id":
        return f"{table.name}-of-{whose}"
    if isinstance(column.type, Integer | Float | Numeric):
        return 1
    if isinstance(column.type, LargeBinary):
        return b"hash"
    mark = planted(table.name, name)
    is_json = (table.name, name) in {("tool_call", "arguments"), ("trace", "content")} or name in JSON
    if name not in classes.content.split():
        return "[]" if is_json else f"{mark}-of-{whose}"
    return json.dumps({"1": {"said": mark}}) if is_json else mark


@pytest.fixture(params=["sealed", "readable"])
async def services(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Services]:
    given: dict[str, Any] = {"data_dir": tmp_path / "data"}
    if request.param == "sealed":
        given["encryption"] = {"master_key": base64.b64encode(b"m" * 32).decode()}
    async with services_from(read_settings(**given)) as services:
        yield services


async def plant(services: Services, tables: list[str], whose: str) -> None:
    for name in tables:
        table = metadata.tables[name]
        row = {column: _value(table, column, whose) for column in map(str, table.c.keys())}
        async with services.db.batch() as batch:
            batch.add(Prepared(insert(table)), row)


async def told(services: Services, whose: str) -> list[Any]:
    return [json.loads(line) async for line in await told_of(services, LOCAL_OPERATOR, whose)]


async def test_every_table_that_names_a_user_is_told_or_says_why_not(services: Services, tables: list[str]) -> None:
    await plant(services, tables, "ann")
    said = json.dumps(await told(services, "ann"))
    missing = {name for name in tables if not any(mark in said for mark in (f'"{name}-of-ann"', f"planted-{name}-"))}
    assert missing == LEFT_OUT.keys()
    assert all(LEFT_OUT.values())


async def test_every_word_that_is_stored_of_a_user_is_told(services: Services, tables: list[str]) -> None:
    await plant(services, tables, "ann")
    said = json.dumps(await told(services, "ann"))
    content = [planted(name, column) for name in tables for column in DATA_CLASSES[name].content.split()]
    assert len(content) > 20, "there is something to seek"
    assert [mark for mark in content if mark not in said] == []


async def test_nothing_of_others_the_staff_or_secrets_is_told(services: Services, tables: list[str]) -> None:
    await plant(services, tables, "ann")
    await plant(services, tables, "ben")
    said = json.dumps(await told(services, "ann"))
    assert "of-ben" not in said
    hidden = [
        planted(name, column)
        for name in tables
        for column in [*DATA_CLASSES[name].staff.split(), "hash", "owner"]
        if column != "subject"
    ]
    assert [mark for mark in hidden if mark in said] == []


async def test_a_user_without_a_conversation_is_told_of_their_keys(services: Services) -> None:
    made = await services.keys.create(
        tenant_id="default", subject="ann", role=Role.END_USER, at=services.clock.micros()
    )
    (line,) = await told(services, "ann")
    assert (line["object"], line["subject"]) == ("subject", "ann")
    assert [each["id"] for each in line["api_keys"]] == [made.key.id]
