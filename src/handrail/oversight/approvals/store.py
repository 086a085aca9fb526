"""SQL for approvals. Methods that take a batch append to it; the flow commits.

Every change is a compare-and-set on `version`, and every decision also on the database's clock: of any number of
deciders on any number of replicas one finds the row as it was read, the others get `Conflict` and read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Text,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from handrail.core import json
from handrail.db import Batch, Database, Prepared, now, scoped
from handrail.oversight.approvals.delegations import DelegationStore
from handrail.oversight.approvals.policy import Recorded, escalated
from handrail.oversight.approvals.questions import QuestionStore, asked
from handrail.oversight.approvals.records import Approval, Vote
from handrail.oversight.approvals.shown import ShownStore
from handrail.oversight.approvals.speed import HASTY_SECONDS, Cast, DecisionSpeed, decision_speeds
from handrail.oversight.approvals.tables import approval, approval_view, approval_vote

OUT_OF_TIME = "nobody decided in time"

_a, _v, _w = approval, approval_vote, approval_view
# Literal, so that both databases see that the partial indexes answer it.
_IS_PENDING = _a.c.status == literal_column("'pending'")
_WAITS_TO_RESUME = (_a.c.resumed_at.is_(None), _a.c.status != literal_column("'pending'"))


def _from_now(name: str) -> ColumnElement[int]:
    """So many microseconds from now; NULL stays NULL."""
    return now() + bindparam(name, type_=BigInteger)


_CONTENT = (
    "version",
    "revision",
    "arguments",
    "original_arguments",
    "fingerprint",
    "rules",
    "risk",
    "votes_needed",
    "approvers",
    "reason",
    "status",
    "expires_at",
    "decided_by",
    "decision_reason",
)
_ADD = Prepared(
    insert(_a).values(
        {
            **{column.name: bindparam(column.name, type_=column.type) for column in _a.c},
            "created_at": now(),
            "expires_at": _from_now("expires_in"),
            "remind_at": _from_now("remind_in"),
            "escalate_at": _from_now("escalate_in"),
        }
    )
)
_RECORD = Prepared(
    update(_a)
    .where(
        _a.c.tenant_id == bindparam("tenant_id"),
        _a.c.id == bindparam("id_"),
        _IS_PENDING,
        _a.c.version == bindparam("seen_version"),
        _a.c.fingerprint == bindparam("seen_fingerprint"),
        _a.c.expires_at > now(),
    )
    .values(
        {
            **{name: bindparam(f"{name}_", type_=_a.c[name].type) for name in _CONTENT},
            "decided_at": case((bindparam("status_", type_=Text) == "pending", null()), else_=now()),
        }
    )
)
_WAITING = Prepared(
    select(_a.c.agent, func.count().label("waiting"), func.min(_a.c.created_at).label("oldest"))
    .where(_IS_PENDING)
    .group_by(_a.c.agent)
)
_ADD_VOTE = Prepared(insert(_v))


def _expired() -> dict[str, Any]:
    return {
        "status": "expired",
        "version": _a.c.version + 1,
        "decided_at": now(),
        "decision_reason": bindparam("reason_", type_=Text),
    }


_EXPIRE_DUE = Prepared(update(_a).where(_IS_PENDING, _a.c.expires_at <= now()).values(_expired()))
_EXPIRE_CONVERSATION = Prepared(
    update(_a)
    .where(_a.c.tenant_id == bindparam("tenant_id"), _a.c.conversation_id == bindparam("conversation_id_"), _IS_PENDING)
    .values(_expired())
)
_TENANT = bindparam("tenant_id", type_=Text)
_EXPIRE_RELEASE = Prepared(
    update(_a)
    .where(
        or_(literal_column("'*'") == _TENANT, _a.c.tenant_id == _TENANT),
        _a.c.release_id == bindparam("release_id_"),
        _IS_PENDING,
    )
    .values(_expired())
)
_WITHDRAW = Prepared(
    update(_a)
    .where(_a.c.tenant_id == bindparam("tenant_id"), _a.c.turn_id == bindparam("turn_id_"), _IS_PENDING)
    .values({**_expired(), "resumed_at": now()})
)
_ESCALATE = Prepared(
    update(_a)
    .where(
        _a.c.tenant_id == bindparam("tenant_id"),
        _a.c.id == bindparam("id_"),
        _IS_PENDING,
        _a.c.version == bindparam("seen_version"),
        _a.c.escalated_at.is_(None),
    )
    .values(version=_a.c.version + 1, approvers=bindparam("approvers_"), escalated_at=now())
)
# Without a new version: telling people must not make a vote that is on its way miss.
_REMIND = Prepared(
    update(_a)
    .where(
        _a.c.tenant_id == bindparam("tenant_id"), _a.c.id == bindparam("id_"), _IS_PENDING, _a.c.reminded_at.is_(None)
    )
    .values(reminded_at=now())
)
_RESUME = Prepared(
    update(_a)
    .where(_a.c.tenant_id == bindparam("tenant_id"), _a.c.id == bindparam("id_"), *_WAITS_TO_RESUME)
    .values(resumed_at=now())
)
_NOW = Prepared(select(now().label("at")))
_FIND = Prepared(scoped(_a).where(_a.c.id == bindparam("id")))
_FIND_BY_CALL = Prepared(scoped(_a).where(_a.c.tool_call_id == bindparam("tool_call_id")))
_OF_TURN = Prepared(scoped(_a).where(_a.c.turn_id == bindparam("turn_id")).order_by(_a.c.id))
_PENDING_IN = Prepared(
    scoped(_a).where(_IS_PENDING, _a.c.conversation_id == bindparam("conversation_id")).order_by(_a.c.id)
)
_PENDING = Prepared(
    scoped(_a)
    .where(_IS_PENDING, _a.c.expires_at > now(), _a.c.id > bindparam("after"))
    .order_by(_a.c.id)
    .limit(bindparam("limit"))
)
_NEWEST = Prepared(scoped(_a).where(_a.c.id < bindparam("before")).order_by(_a.c.id.desc()).limit(bindparam("limit")))
_VOTES = Prepared(scoped(_v).where(_v.c.approval_id == bindparam("approval_id")).order_by(_v.c.created_at, _v.c.id))
_HAS_OPEN = Prepared(
    select(
        exists(select(_a.c.id).where(_IS_PENDING)).label("pending"),
        exists(select(_a.c.id).where(*_WAITS_TO_RESUME)).label("decided"),
    )
)
_DUE_FOR_ESCALATION = Prepared(
    select(_a)
    .where(_IS_PENDING, _a.c.expires_at > now(), _a.c.escalate_at <= now(), _a.c.escalated_at.is_(None))
    .order_by(_a.c.expires_at)
    .limit(bindparam("limit"))
)
_DUE_FOR_REMINDER = Prepared(
    select(_a)
    .where(_IS_PENDING, _a.c.expires_at > now(), _a.c.remind_at <= now(), _a.c.reminded_at.is_(None))
    .order_by(_a.c.expires_at)
    .limit(bindparam("limit"))
)
_DECIDED_NOT_RESUMED = Prepared(
    select(_a).where(*_WAITS_TO_RESUME).order_by(_a.c.decided_at, _a.c.id).limit(bindparam("limit"))
)
_CASTS = Prepared(
    scoped(
        _v,
        _v.c.voter,
        _v.c.decision,
        _v.c.created_at,
        func.coalesce(_w.c.shown_at, _a.c.created_at).label("shown_at"),
    )
    .join(_a, _a.c.id == _v.c.approval_id)
    .outerjoin(_w, (_w.c.approval_id == _v.c.approval_id) & (_w.c.viewer == _v.c.voter))
    .where(
        _v.c.created_at >= bindparam("since"),
        _v.c.decision.in_([literal_column(f"'{each}'") for each in ("approve", "reject", "edit")]),
    )
    .order_by(_v.c.created_at, _v.c.id)
)
# Greater than every id in any collation: ids are `appr_` and hex digits.
_NO_BOUND = "appr_g"


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a decision needs: the approval, what was said to it, and the database's time."""

    approval: Approval
    votes: tuple[Vote, ...]
    at: int


class ApprovalStore:
    """The tables of approvals and votes, and what belongs to them."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.delegations = DelegationStore(db)
        self.questions = QuestionStore(db)
        self.shown = ShownStore(db)

    def open(self, batch: Batch, opened: Approval) -> None:
        """Note what waits; its times count from the database's now. A second one for a tool call is a `Conflict`."""
        batch.add(_ADD, _row(opened) | _spans(opened))

    def record(self, batch: Batch, recorded: Recorded) -> None:
        """Take a decision, if nothing happened since it was read and time is not up; otherwise `Conflict`."""
        before, row = recorded.before, _row(recorded.after)
        changed = {f"{name}_": row[name] for name in _CONTENT}
        key = {"tenant_id": before.call.tenant_id, "conversation_id": before.call.conversation_id, "id_": before.id}
        seen = {"seen_version": before.version, "seen_fingerprint": before.fingerprint}
        batch.add(_RECORD, changed | key | seen, expect=1)
        batch.add(_ADD_VOTE, _vote_row(recorded.vote))
        if recorded.vote.decision == "info":
            self.questions.add(batch, asked(before, recorded.vote))

    def expire_due(self, batch: Batch) -> None:
        """Note every expiry that has come, of all tenants; `decided_not_resumed` then has them."""
        batch.add(_EXPIRE_DUE, {"reason_": OUT_OF_TIME})

    def expire_conversation(self, batch: Batch, tenant_id: str, conversation_id: str, reason: str) -> None:
        """Expire what waits in a conversation that goes on under another release; its turns resume and say so."""
        parameters = {"tenant_id": tenant_id, "conversation_id_": conversation_id, "reason_": reason}
        batch.add(_EXPIRE_CONVERSATION, parameters)

    def expire_release(self, batch: Batch, tenant_id: str, release_id: str, reason: str) -> None:
        """Expire what a release asked for that may not run any more; `*` is every tenant."""
        parameters = {"tenant_id": tenant_id, "release_id_": release_id, "reason_": reason}
        batch.add(_EXPIRE_RELEASE, parameters)

    def withdraw(self, batch: Batch, tenant_id: str, turn_id: str, reason: str) -> None:
        """Expire what waits in a turn that is over (cancelled): there is nothing to resume."""
        batch.add(_WITHDRAW, {"tenant_id": tenant_id, "turn_id_": turn_id, "reason_": reason})

    def escalate(self, batch: Batch, found: Approval) -> Approval:
        """Let the rules' other teams decide too, once; `Conflict` when somebody was faster."""
        after = escalated(found)
        parameters = {
            "tenant_id": found.call.tenant_id,
            "id_": found.id,
            "seen_version": found.version,
            "approvers_": json.dumps(after.approvers.as_json()),
        }
        batch.add(_ESCALATE, parameters, expect=1)
        return after

    def mark_reminded(self, batch: Batch, found: Approval) -> None:
        """Once; `Conflict` when another replica reminds already."""
        batch.add(_REMIND, {"tenant_id": found.call.tenant_id, "id_": found.id}, expect=1)

    def mark_resumed(self, batch: Batch, tenant_id: str, approval_id: str) -> None:
        """Use a decision, once; `Conflict` when it is used, or not made yet."""
        batch.add(_RESUME, {"tenant_id": tenant_id, "id_": approval_id}, expect=1)

    async def find(self, tenant_id: str, approval_id: str) -> Approval | None:
        row = await self._db.fetch_one(_FIND, {"tenant_id": tenant_id, "id": approval_id})
        return Approval.of(row) if row is not None else None

    async def look(self, tenant_id: str, approval_id: str) -> Seen | None:
        """What a decision is made on. A vote that comes in between changes the version, so none is overlooked."""
        found = await self.find(tenant_id, approval_id)
        if found is None:
            return None
        return Seen(found, tuple(await self.votes(tenant_id, approval_id)), await self.now())

    async def find_by_call(self, tenant_id: str, tool_call_id: str) -> Approval | None:
        """The approval of a tool call: what a turn that is resumed asks before it asks people again."""
        row = await self._db.fetch_one(_FIND_BY_CALL, {"tenant_id": tenant_id, "tool_call_id": tool_call_id})
        return Approval.of(row) if row is not None else None

    async def of_turn(self, tenant_id: str, turn_id: str) -> Sequence[Approval]:
        """All that a turn waits or waited for, in the order they were asked for."""
        return _approvals(await self._db.fetch_all(_OF_TURN, {"tenant_id": tenant_id, "turn_id": turn_id}))

    async def pending_in(self, tenant_id: str, conversation_id: str) -> Sequence[Approval]:
        """What a conversation waits for, in the order it was asked for."""
        parameters = {"tenant_id": tenant_id, "conversation_id": conversation_id}
        return _approvals(await self._db.fetch_all(_PENDING_IN, parameters))

    async def votes(self, tenant_id: str, approval_id: str) -> Sequence[Vote]:
        """All that people said, oldest first; those that an edit made void too."""
        rows = await self._db.fetch_all(_VOTES, {"tenant_id": tenant_id, "approval_id": approval_id})
        return [Vote.of(row) for row in rows]

    async def list_pending(self, tenant_id: str, *, cursor: str | None = None, limit: int = 50) -> Sequence[Approval]:
        """What the tenant's approvers have to decide, oldest first; `cursor` is the last id of the page before."""
        parameters = {"tenant_id": tenant_id, "after": cursor or "", "limit": limit}
        return _approvals(await self._db.scan(_PENDING, parameters))

    async def newest(self, tenant_id: str, *, before: str | None = None, limit: int = 50) -> Sequence[Approval]:
        """All of the tenant's, newest first; `before` is the last id of the page before."""
        parameters = {"tenant_id": tenant_id, "before": before or _NO_BOUND, "limit": limit}
        return _approvals(await self._db.scan(_NEWEST, parameters))

    async def has_open(self) -> bool:
        """Whether any waits for its people, or to go on once it was decided: asked every few seconds."""
        row = await self._db.fetch_one(_HAS_OPEN, {})
        return row is not None and bool(row["pending"] or row["decided"])

    async def due_for_escalation(self, limit: int = 100) -> Sequence[Approval]:
        """Of all tenants, what waits too long for its first approvers."""
        return _approvals(await self._db.fetch_all(_DUE_FOR_ESCALATION, {"limit": limit}))

    async def due_for_reminder(self, limit: int = 100) -> Sequence[Approval]:
        """Of all tenants, what its approvers should hear of again."""
        return _approvals(await self._db.fetch_all(_DUE_FOR_REMINDER, {"limit": limit}))

    async def decided_not_resumed(self, limit: int = 100) -> Sequence[Approval]:
        """Of all tenants, what is approved, rejected or expired and whose turn does not know yet."""
        return _approvals(await self._db.fetch_all(_DECIDED_NOT_RESUMED, {"limit": limit}))

    async def speeds(self, tenant_id: str, since: int, hasty_seconds: float = HASTY_SECONDS) -> Sequence[DecisionSpeed]:
        """How fast the tenant's approvers decided since then, the hastiest first."""
        rows = await self._db.scan(_CASTS, {"tenant_id": tenant_id, "since": since})
        casts = (Cast(row["voter"], row["created_at"], row["shown_at"], row["decision"] != "reject") for row in rows)
        return decision_speeds(casts, hasty_seconds)

    async def waiting(self) -> Mapping[str, tuple[int, int]]:
        """By agent, of all tenants: how many nobody has decided yet, and when the oldest was asked for."""
        return {row["agent"]: (row["waiting"], row["oldest"]) for row in await self._db.scan(_WAITING, {})}

    async def now(self) -> int:
        """The clock that decides whether time is up."""
        row = await self._db.fetch_one(_NOW, {})
        assert row is not None
        return row["at"]


def _approvals(rows: Sequence[Mapping[str, Any]]) -> list[Approval]:
    return [Approval.of(row) for row in rows]


def _row(each: Approval) -> dict[str, Any]:
    call, original = each.call, each.original_arguments
    return {
        "id": each.id,
        "tenant_id": call.tenant_id,
        "conversation_id": call.conversation_id,
        "turn_id": call.turn_id,
        "tool_call_id": call.tool_call_id,
        "agent": call.agent,
        "release_id": call.release_id,
        "requester": call.requester,
        "tool": call.tool,
        "arguments": json.dumps(call.arguments),
        "original_arguments": None if original is None else json.dumps(original),
        "fingerprint": each.fingerprint,
        "revision": each.revision,
        "version": each.version,
        "rules": json.dumps(each.rules),
        "risk": each.risk.value,
        "votes_needed": each.votes_needed,
        "approvers": json.dumps(each.approvers.as_json()),
        "reason": each.reason,
        "status": each.status.value,
        "expires_at": each.expires_at,
        "reminded_at": None,
        "escalated_at": None,
        "decided_at": None,
        "decided_by": each.decided_by,
        "decision_reason": each.decision_reason,
        "resumed_at": None,
    }


def _spans(opened: Approval) -> dict[str, int | None]:
    at = opened.created_at
    return {
        "expires_in": opened.expires_at - at,
        "remind_in": None if opened.remind_at is None else opened.remind_at - at,
        "escalate_in": None if opened.escalate_at is None else opened.escalate_at - at,
    }


def _vote_row(cast: Vote) -> dict[str, Any]:
    return {
        "id": cast.id,
        "tenant_id": cast.tenant_id,
        "approval_id": cast.approval_id,
        "voter": cast.voter,
        "decision": cast.decision,
        "fingerprint": cast.fingerprint,
        "revision": cast.revision,
        "capacity": json.dumps(cast.capacity.as_json()),
        "reason": cast.reason,
        "diff": None if cast.diff is None else json.dumps(cast.diff),
        "created_at": cast.created_at,
    }
