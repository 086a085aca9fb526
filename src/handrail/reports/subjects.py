"""What is stored of one user, row by row, for the copy that they may ask for. Read-only.

Every column of these tables is told but what is named here, so that a new one is told without anybody's thinking of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, bindparam, select

from handrail.core import json
from handrail.core.clock import iso
from handrail.db import Database, Prepared, scoped
from handrail.insight.costs.tables import model_usage
from handrail.insight.scorecard.tables import conversation_fact
from handrail.insight.traces.tables import trace
from handrail.oversight.approvals.tables import approval, approval_vote
from handrail.protection.auth.tables import api_key, console_session, sign_in_link
from handrail.protection.privacy.tables import token
from handrail.serving.conversations.tables import idempotency_key, tool_call, turn

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """A table whose rows are told.

    Attributes:
        key: what they are called in the copy.
        hidden: columns that are not told: of whom else, what a secret is checked by, how processes share the work.
        json: columns that hold JSON.
    """

    key: str
    table: Table
    hidden: frozenset[str]
    json: frozenset[str]
    statement: Prepared

    def row(self, stored: Mapping[str, Any]) -> Row:
        """As it stands in the copy."""
        names = [str(each.name) for each in self.table.columns if each.name not in self.hidden]
        return {name: self._value(name, stored[name]) for name in names}

    def _value(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name in self.json:
            return json.loads(value)
        return iso(value) if name.endswith("_at") else value


def _told(key: str, table: Table, by: str, hidden: str = "", json: str = "") -> Told:
    order = table.c.id if "id" in table.c else table.c[by]
    statement = scoped(table).where(table.c[by] == bindparam(by)).order_by(order)
    return Told(key, table, frozenset(["tenant_id", *hidden.split()]), frozenset(json.split()), Prepared(statement))


def _votes() -> Told:
    ids = select(approval.c.id).where(approval.c.conversation_id == bindparam("conversation_id"))
    statement = scoped(approval_vote).where(approval_vote.c.approval_id.in_(ids)).order_by(approval_vote.c.id)
    hidden = frozenset({"tenant_id", "voter", "capacity", "fingerprint"})
    return Told("approval_votes", approval_vote, hidden, frozenset({"diff"}), Prepared(statement))


OF_CONVERSATION: tuple[Told, ...] = (
    _told(
        "turns", turn, "conversation_id",
        hidden="owner epoch lease_expires_at event_seq", json="route roles scopes teams parked ladder tripped",
    ),
    _told("tool_calls", tool_call, "conversation_id", json="ladder tripped"),
    _told("tokens", token, "conversation_id"),
    _votes(),
    _told("model_calls", model_usage, "conversation_id"),
    _told("traces", trace, "conversation_id", hidden="epoch", json="spans content"),
    _told("counted", conversation_fact, "conversation_id", hidden="version", json="contribution"),
)  # fmt: skip
OF_SUBJECT: tuple[Told, ...] = (
    _told("api_keys", api_key, "subject", hidden="hash note", json="scopes teams"),
    _told("sessions", console_session, "subject", hidden="hash", json="roles scopes teams"),
    _told("sign_in_links", sign_in_link, "subject", hidden="hash", json="roles"),
    _told("idempotency_keys", idempotency_key, "subject", hidden="body_hash"),
)


async def told_of_conversation(db: Database, tenant_id: str, conversation_id: str) -> Mapping[str, Sequence[Row]]:
    """All rows that hang on a conversation, by what they are called."""
    given = {"tenant_id": tenant_id, "conversation_id": conversation_id}
    return {each.key: [each.row(row) for row in await db.scan(each.statement, given)] for each in OF_CONVERSATION}


async def told_of_subject(db: Database, tenant_id: str, subject: str) -> Mapping[str, Sequence[Row]]:
    """All rows that name a user outside of conversations, by what they are called."""
    given = {"tenant_id": tenant_id, "subject": subject}
    return {each.key: [each.row(row) for row in await db.scan(each.statement, given)] for each in OF_SUBJECT}
