"""Conversations as JSON lines in a file: written part by part, so that a crash costs one part."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam

from handrail.core import json
from handrail.core.clock import iso
from handrail.db import Database, Prepared, scoped
from handrail.serving.conversations import tables
from handrail.serving.conversations.bodies import conversation_body, message_body
from handrail.serving.conversations.records import Conversation, StoredMessage, StoredToolCall

_c, _m, _k = tables.conversation, tables.message, tables.tool_call
_PAGE = Prepared(
    scoped(_c)
    .where(_c.c.id > bindparam("after"), _c.c.created_at <= bindparam("until"))
    .order_by(_c.c.id)
    .limit(bindparam("limit"))
)
_MESSAGES = Prepared(
    scoped(_m).where(_m.c.conversation_id == bindparam("conversation_id")).order_by(_m.c.turn_seq, _m.c.position)
)
_CALLS = Prepared(
    scoped(_k).where(_k.c.conversation_id == bindparam("conversation_id")).order_by(_k.c.created_at, _k.c.id)
)


class ConversationExport:
    """Reads a tenant's conversations in the order they were opened."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, tenant_id: str, *, after: str, until: int, limit: int) -> Sequence[Conversation]:
        parameters = {"tenant_id": tenant_id, "after": after, "until": until, "limit": limit}
        return [Conversation.of(row) for row in await self._db.scan(_PAGE, parameters)]

    async def line(self, conversation: Conversation) -> bytes:
        """One conversation with all its messages and tool calls, as a line."""
        key = {"tenant_id": conversation.tenant_id, "conversation_id": conversation.id}
        messages = [StoredMessage.of(row) for row in await self._db.scan(_MESSAGES, key)]
        calls = [StoredToolCall.of(row) for row in await self._db.scan(_CALLS, key)]
        body = conversation_body(conversation) | {
            "subject": conversation.subject,
            "messages": [message_body(each) for each in messages],
            "tool_calls": [_call_body(each) for each in calls],
        }
        return json.dumps(body).encode() + b"\n"


def _call_body(call: StoredToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "turn_id": call.turn_id,
        "name": call.name,
        "arguments": call.arguments,
        "status": call.status,
        "result": call.result,
        "created_at": iso(call.created_at),
    }


class ExportFolder:
    """Where exports lie, for the service's own user alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def files(self) -> list[Path]:
        """What lies here."""
        return list(self._folder.glob("*.jsonl*")) if self._folder.is_dir() else []

    def forget(self, *, before: int) -> int:
        """Delete what was last written before (microseconds); how many files it were."""
        old = [each for each in self.files() if each.stat().st_mtime_ns // 1000 < before]
        for each in old:
            each.unlink(missing_ok=True)
        return len(old)

    def holds(self, name: str, size: int) -> bool:
        """Whether the part that is written so far is here; another machine's disk does not have it."""
        part = self._part(name)
        return size == 0 or (part.exists() and part.stat().st_size >= size)

    def append(self, name: str, at: int, lines: Sequence[bytes]) -> int:
        """Write behind the first `at` bytes, whatever stood there, and return the new size once it is on the disk."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(self._part(name), os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            file.truncate(at)
            file.seek(at)
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def finish(self, name: str) -> None:
        """Give it its name; a second time changes nothing."""
        if self._part(name).exists():
            os.replace(self._part(name), self.path(name))

    def _part(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl.part"
