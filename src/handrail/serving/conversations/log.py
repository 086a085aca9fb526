"""Conversations as an anonymised log reads them: user by user to count, and in their own order to write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, or_, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from handrail.db import Database, Prepared, scoped
from handrail.serving.conversations import tables
from handrail.serving.conversations.records import Conversation, StoredMessage, StoredToolCall, Turn

_c, _t, _m, _k = tables.conversation, tables.turn, tables.message, tables.tool_call


def _chosen(query: Select[Any]) -> Select[Any]:
    """Of one agent and release, when they are named, begun in a period."""
    return query.where(
        or_(bindparam("agent") == "", _c.c.agent == bindparam("agent")),
        or_(bindparam("release_id") == "", _c.c.release_id == bindparam("release_id")),
        _c.c.created_at >= bindparam("since"),
        _c.c.created_at < bindparam("until"),
    )


_BY_ID = Prepared(_chosen(scoped(_c)).where(_c.c.id > bindparam("after")).order_by(_c.c.id).limit(bindparam("limit")))
_BY_USER = Prepared(
    _chosen(scoped(_c))
    .where(tuple_(_c.c.subject, _c.c.id) > tuple_(bindparam("after_subject"), bindparam("after")))
    .order_by(_c.c.subject, _c.c.id)
    .limit(bindparam("limit"))
)
_USERS = Prepared(
    _chosen(select(_c.c.subject).distinct().where(_c.c.tenant_id == bindparam("tenant_id"))).limit(bindparam("limit"))
)


def _of_conversation(table: Any, *order: ColumnElement[Any]) -> Prepared:
    return Prepared(scoped(table).where(table.c.conversation_id == bindparam("conversation_id")).order_by(*order))


_TURNS = _of_conversation(_t, _t.c.seq)
_MESSAGES = _of_conversation(_m, _m.c.turn_seq, _m.c.position)
_CALLS = _of_conversation(_k, _k.c.created_at, _k.c.id)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which conversations of a tenant; a name left empty chooses all, times are microseconds."""

    tenant_id: str
    agent: str = ""
    release_id: str = ""
    since: int = 0
    until: int = 1 << 62

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {
            "tenant_id": self.tenant_id,
            "agent": self.agent,
            "release_id": self.release_id,
            "since": self.since,
            "until": self.until,
        }


@dataclass(frozen=True, slots=True)
class Told:
    """One conversation with all its turns."""

    conversation: Conversation
    turns: Sequence[Turn]
    messages: Sequence[StoredMessage]
    calls: Sequence[StoredToolCall]


class ConversationLog:
    """Reads; a page of conversations is all that is held."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def has_users(self, chosen: Chosen, least: int) -> bool:
        """Whether so many users have one of these conversations."""
        return len(await self._db.scan(_USERS, {**chosen.parameters, "limit": least})) >= least

    async def by_user(self, chosen: Chosen, *, after: tuple[str, str], limit: int) -> Sequence[Conversation]:
        """All of a user one after another; `after` is a subject and an id."""
        parameters = {**chosen.parameters, "after_subject": after[0], "after": after[1], "limit": limit}
        return [Conversation.of(row) for row in await self._db.scan(_BY_USER, parameters)]

    async def by_id(self, chosen: Chosen, *, after: str, limit: int) -> Sequence[Conversation]:
        """In the order they were opened."""
        parameters = {**chosen.parameters, "after": after, "limit": limit}
        return [Conversation.of(row) for row in await self._db.scan(_BY_ID, parameters)]

    async def told(self, conversation: Conversation) -> Told:
        key = {"tenant_id": conversation.tenant_id, "conversation_id": conversation.id}
        turns = [Turn.of(row) for row in await self._db.scan(_TURNS, key)]
        messages = [StoredMessage.of(row) for row in await self._db.scan(_MESSAGES, key)]
        calls = [StoredToolCall.of(row) for row in await self._db.scan(_CALLS, key)]
        return Told(conversation, turns, messages, calls)
