"""SQL for alerts. What is written together with its notices is written in the caller's batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Integer, Text, and_, bindparam, delete, func, insert, literal, or_, select, update

from handrail.core import json
from handrail.db import Batch, Conflict, Database, Prepared, now
from handrail.insight.alerts.lifecycle import FLAP_SECONDS, SECOND, Alert, Change
from handrail.insight.alerts.notices import Delivery, Notice, Silence
from handrail.insight.alerts.tables import alert as _a
from handrail.insight.alerts.tables import alert_lease as _l
from handrail.insight.alerts.tables import alert_notice as _n
from handrail.insight.alerts.tables import alert_report as _r
from handrail.insight.alerts.tables import alert_rule_state as _s
from handrail.insight.alerts.tables import alert_silence as _q

LEASE = "alerts"
EVERYWHERE = "*"
MOST_OPEN = 5000
MOST_SAID = 400

_ADD = Prepared(insert(_a))
_CHANGE = Prepared(
    update(_a)
    .where(_a.c.id == bindparam("id_"), _a.c.version == bindparam("version_", type_=Integer))
    .values({column.name: bindparam(column.name, type_=column.type) for column in _a.c if column.name != "id"})
)
_FORGET = Prepared(delete(_a).where(_a.c.id == bindparam("id_"), _a.c.version == bindparam("version_", type_=Integer)))
_KNOWN = Prepared(
    select(_a)
    .where(or_(_a.c.state != "resolved", _a.c.resolved_at > now() - FLAP_SECONDS * SECOND))
    .order_by(_a.c.id)
    .limit(MOST_OPEN)
)
_FIND = Prepared(select(_a).where(_a.c.id == bindparam("id")))
_SEEN_BY = or_(
    _a.c.tenant_id == bindparam("tenant_id"), _a.c.tenant_id == EVERYWHERE, bindparam("all_", type_=Integer) == 1
)
_LIST = Prepared(
    select(_a)
    .where(
        _SEEN_BY,
        or_(_a.c.state == bindparam("state"), bindparam("state", type_=Text) == "any"),
        or_(_a.c.rule == bindparam("rule"), bindparam("rule", type_=Text) == "any"),
        _a.c.id < bindparam("before"),
    )
    .order_by(_a.c.id.desc())
    .limit(bindparam("limit", type_=BigInteger))
)
_FORGET_OLD = Prepared(delete(_a).where(_a.c.resolved_at < now() - bindparam("age", type_=BigInteger)))

_ADD_SILENCE = Prepared(insert(_q).values({column.name: bindparam(column.name, type_=column.type) for column in _q.c}))
_END_SILENCE = Prepared(
    update(_q)
    .where(_q.c.id == bindparam("id_"), _q.c.ended_at.is_(None))
    .values(ended_at=now(), ended_by=bindparam("ended_by_", type_=Text))
)
_FIND_SILENCE = Prepared(select(_q).where(_q.c.id == bindparam("id")))
_SILENCES = Prepared(select(_q).where(_q.c.ended_at.is_(None), _q.c.ends_at > now()).order_by(_q.c.id))
_FORGET_SILENCES = Prepared(delete(_q).where(_q.c.ends_at < now() - bindparam("age", type_=BigInteger)))

_COLUMNS = ("id", "tenant_id", "channel", "kind", "severity", "alert_ids", "title", "body")
# The same notice worked out twice is one.
_ADD_NOTICE = Prepared(
    insert(_n).from_select(
        [*_COLUMNS, "status", "attempts", "next_at", "created_at"],
        select(
            *(bindparam(name, type_=Text) for name in _COLUMNS),
            literal("waiting"),
            literal(0),
            now(),
            now(),
        ).where(~select(_n.c.id).where(_n.c.id == bindparam("id_", type_=Text)).exists()),
    )
)
# A round of sending. Each channel has its own, so that one with a long line keeps no other waiting.
MOST_OF_A_CHANNEL, MOST_DUE = 20, 200
_PLACE = func.row_number().over(partition_by=_n.c.channel, order_by=(_n.c.next_at, _n.c.id))
_IN_LINE = (
    select(_n.c.id, _PLACE.label("place")).where(_n.c.status == "waiting", _n.c.next_at <= now()).subquery("in_line")
)
_DUE = Prepared(
    select(_n)
    .join(_IN_LINE, _IN_LINE.c.id == _n.c.id)
    .where(_IN_LINE.c.place <= MOST_OF_A_CHANNEL)
    .order_by(_n.c.next_at, _n.c.id)
    .limit(MOST_DUE)
)
_SENT = Prepared(
    update(_n)
    .where(_n.c.id == bindparam("id_"))
    .values(status="sent", sent_at=now(), attempts=_n.c.attempts + 1, error=None)
)
_CLAIM = Prepared(
    update(_n)
    .where(
        _n.c.id == bindparam("id_"), _n.c.status == "waiting", _n.c.next_at == bindparam("next_at_", type_=BigInteger)
    )
    .values(next_at=now() + bindparam("wait", type_=BigInteger))
)
_FAILED = Prepared(
    update(_n)
    .where(_n.c.id == bindparam("id_"))
    .values(
        status=bindparam("status_", type_=Text),
        attempts=_n.c.attempts + 1,
        next_at=now() + bindparam("wait", type_=BigInteger),
        error=bindparam("error_", type_=Text),
    )
)
# Its next time is long past, so that it speaks no more for a channel that fails.
_DROPPED = Prepared(
    update(_n)
    .where(_n.c.id == bindparam("id_"))
    .values(status="given_up", next_at=0, error=bindparam("error_", type_=Text))
)
_FAILING = Prepared(
    select(_n)
    .where(_n.c.attempts > 0, _n.c.error.is_not(None), _n.c.status != "sent", _n.c.next_at > now() - 3600 * SECOND)
    .order_by(_n.c.id)
    .limit(1000)
)
_TOLD_OF = Prepared(
    select(_n).where(_n.c.alert_ids.contains(bindparam("alert_id"))).order_by(_n.c.created_at, _n.c.id).limit(100)
)
_NEWEST = Prepared(
    select(_n)
    .where(
        or_(
            _n.c.tenant_id == bindparam("tenant_id"),
            _n.c.tenant_id == EVERYWHERE,
            bindparam("all_", type_=Integer) == 1,
        )
    )
    .order_by(_n.c.created_at.desc(), _n.c.id)
    .limit(bindparam("limit", type_=BigInteger))
)
_FORGET_NOTICES = Prepared(
    delete(_n).where(_n.c.status != "waiting", _n.c.created_at < now() - bindparam("age", type_=BigInteger))
)

_RENEW = Prepared(
    update(_l)
    .where(_l.c.name == LEASE, _l.c.owner == bindparam("owner_"), _l.c.expires_at > now())
    .values(expires_at=now() + bindparam("micros", type_=BigInteger))
)
_TAKE = Prepared(
    update(_l)
    .where(_l.c.name == LEASE, _l.c.expires_at <= now())
    .values(
        owner=bindparam("owner_", type_=Text),
        epoch=_l.c.epoch + 1,
        expires_at=now() + bindparam("micros", type_=BigInteger),
    )
)
_FIRST = Prepared(
    insert(_l).values(
        name=LEASE,
        owner=bindparam("owner_", type_=Text),
        epoch=1,
        expires_at=now() + bindparam("micros", type_=BigInteger),
    )
)
_HELD = Prepared(select(_l.c.owner, _l.c.epoch, (_l.c.expires_at > now()).label("holds")).where(_l.c.name == LEASE))
_FENCE = Prepared(
    update(_l)
    .where(
        _l.c.name == LEASE,
        _l.c.owner == bindparam("owner_"),
        _l.c.epoch == bindparam("epoch_", type_=Integer),
        _l.c.expires_at > now(),
    )
    .values(owner=_l.c.owner)
)
_LET_GO = Prepared(update(_l).where(_l.c.name == LEASE, _l.c.owner == bindparam("owner_")).values(expires_at=0))

_REPORT = Prepared(
    update(_r).where(_r.c.owner == bindparam("owner_")).values(body=bindparam("body_", type_=Text), reported_at=now())
)
_FIRST_REPORT = Prepared(
    insert(_r).values(owner=bindparam("owner_", type_=Text), body=bindparam("body_", type_=Text), reported_at=now())
)
_REPORTS = Prepared(select(_r.c.owner, _r.c.body).where(_r.c.reported_at > now() - bindparam("age", type_=BigInteger)))
_FORGET_REPORTS = Prepared(delete(_r).where(_r.c.reported_at < now() - bindparam("age", type_=BigInteger)))

_RULE_STATES = Prepared(
    select(_s).where(
        or_(
            _s.c.tenant_id == bindparam("tenant_id"),
            _s.c.tenant_id == EVERYWHERE,
            bindparam("all_", type_=Integer) == 1,
        )
    )
)
_RULE_STATE = Prepared(
    update(_s)
    .where(and_(_s.c.tenant_id == bindparam("tenant_id_"), _s.c.rule == bindparam("rule_")))
    .values(state=bindparam("state_", type_=Text), said=bindparam("said_", type_=Text), changed_at=now())
)
_FIRST_RULE_STATE = Prepared(
    insert(_s).values(
        tenant_id=bindparam("tenant_id_", type_=Text),
        rule=bindparam("rule_", type_=Text),
        state=bindparam("state_", type_=Text),
        said=bindparam("said_", type_=Text),
        changed_at=now(),
    )
)
# Greater than every id: they are `alrt_` and hex digits.
NO_BOUND = "alrt_g"


@dataclass(frozen=True, slots=True)
class AlertLease:
    """The right to look and to send, until another process takes it."""

    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class RuleState:
    """What a rule said last, for a tenant."""

    tenant_id: str
    rule: str
    state: str
    said: str
    changed_at: int = 0


class AlertStore:
    """The tables of alerts. `tenant_id=None` asks for those of all: the local operator's view; a tenant's view has
    those of the deployment too."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def hold(self, owner: str, *, seconds: float) -> AlertLease | None:
        """The lease, if it is this owner's or free; one process of the cluster has it."""
        given = {"owner_": owner, "micros": int(seconds * SECOND)}
        for statement in (_RENEW, _TAKE, _FIRST):
            try:
                async with self._db.batch() as batch:
                    batch.add(statement, given, expect=1)
            except Conflict:
                if statement is _RENEW and await self._is_of_another(owner):
                    return None
                continue
            row = await self._db.fetch_one(_HELD, {})
            return AlertLease(owner, row["epoch"]) if row is not None and row["owner"] == owner else None
        return None

    async def _is_of_another(self, owner: str) -> bool:
        row = await self._db.fetch_one(_HELD, {})
        return row is not None and bool(row["holds"]) and row["owner"] != owner

    def fence(self, batch: Batch, lease: AlertLease) -> None:
        """What is in the batch happens only while the lease is held; else `Conflict`."""
        batch.add(_FENCE, {"owner_": lease.owner, "epoch_": lease.epoch}, expect=1)

    async def let_go(self, owner: str) -> None:
        """Another process may look at once."""
        async with self._db.batch() as batch:
            batch.add(_LET_GO, {"owner_": owner})

    async def known(self) -> Sequence[Alert]:
        """What is open, and what was resolved so lately that it may come back."""
        return [Alert.of(row) for row in await self._db.scan(_KNOWN, {})]

    def apply(self, batch: Batch, change: Change) -> None:
        """Store an alert's change; `Conflict` when somebody changed it meanwhile."""
        before, after = change.before, change.after
        if after is None:
            if before is not None:
                batch.add(_FORGET, {"id_": before.id, "version_": before.version}, expect=1)
        elif before is None or before.id != after.id:
            batch.add(_ADD, _row(after))
        else:
            batch.add(
                _CHANGE,
                {**_row(after), "version": before.version + 1, "id_": before.id, "version_": before.version},
                expect=1,
            )

    async def find(self, alert_id: str) -> Alert | None:
        row = await self._db.fetch_one(_FIND, {"id": alert_id})
        return None if row is None else Alert.of(row)

    async def list(
        self,
        tenant_id: str | None,
        *,
        state: str = "any",
        rule: str = "any",
        before: str | None = None,
        limit: int = 50,
    ) -> Sequence[Alert]:
        """Newest first."""
        wanted = {"state": state, "rule": rule, "before": before or NO_BOUND, "limit": limit}
        return [Alert.of(row) for row in await self._db.scan(_LIST, wanted | _view(tenant_id))]

    def add_silence(self, batch: Batch, silence: Silence) -> None:
        row = {name: getattr(silence, name) for name in Silence.__dataclass_fields__}
        batch.add(_ADD_SILENCE, row | {"matchers": json.dumps(silence.matchers)})

    def end_silence(self, batch: Batch, silence_id: str, *, by: str) -> None:
        """`Conflict` when it has ended."""
        batch.add(_END_SILENCE, {"id_": silence_id, "ended_by_": by}, expect=1)

    async def find_silence(self, silence_id: str) -> Silence | None:
        row = await self._db.fetch_one(_FIND_SILENCE, {"id": silence_id})
        return None if row is None else _silence(row)

    async def silences(self) -> Sequence[Silence]:
        """Those that hold or are planned, of all tenants."""
        return [_silence(row) for row in await self._db.scan(_SILENCES, {})]

    def add_notice(self, batch: Batch, notice: Notice) -> None:
        """Write down what a channel is to be told; twice is once."""
        row: dict[str, Any] = {name: getattr(notice, name) for name in _COLUMNS}
        batch.add(_ADD_NOTICE, row | {"alert_ids": " ".join(notice.alert_ids), "id_": notice.id})

    async def due(self) -> Sequence[Delivery]:
        """What is to be sent now."""
        return [Delivery.of(row) for row in await self._db.scan(_DUE, {})]

    def claim(self, batch: Batch, due: Delivery, *, seconds: float) -> None:
        """Nobody else sends it for so long; `Conflict` when somebody does."""
        given = {"id_": due.notice.id, "next_at_": due.next_at, "wait": int(seconds * SECOND)}
        batch.add(_CLAIM, given, expect=1)

    def sent(self, batch: Batch, notice_id: str) -> None:
        batch.add(_SENT, {"id_": notice_id})

    def failed(self, batch: Batch, notice_id: str, *, error: str, wait_seconds: float | None) -> None:
        """Again after the wait; without one, never again."""
        given_up = wait_seconds is None
        batch.add(
            _FAILED,
            {
                "id_": notice_id,
                "status_": "given_up" if given_up else "waiting",
                "wait": int((wait_seconds or 0) * SECOND),
                "error_": error[:MOST_SAID],
            },
        )

    def drop(self, batch: Batch, notice_id: str, *, why: str) -> None:
        """It has nothing to tell any more."""
        batch.add(_DROPPED, {"id_": notice_id, "error_": why})

    async def failing(self) -> Sequence[Delivery]:
        """What could not be delivered in the last hour."""
        return [Delivery.of(row) for row in await self._db.scan(_FAILING, {})]

    async def told_of(self, alert_id: str) -> Sequence[Delivery]:
        """Who was told of an alert, oldest first."""
        return [Delivery.of(row) for row in await self._db.scan(_TOLD_OF, {"alert_id": alert_id})]

    async def newest_notices(self, tenant_id: str | None, *, limit: int) -> Sequence[Delivery]:
        return [Delivery.of(row) for row in await self._db.scan(_NEWEST, {"limit": limit} | _view(tenant_id))]

    async def report(self, owner: str, body: Mapping[str, Any]) -> None:
        """What this process sees now."""
        given = {"owner_": owner, "body_": json.dumps(body)}
        try:
            async with self._db.batch() as batch:
                batch.add(_REPORT, given, expect=1)
        except Conflict:
            async with self._db.batch() as batch:
                batch.add(_FIRST_REPORT, given)

    async def reports(self, *, within_seconds: float) -> Sequence[Mapping[str, Any]]:
        """What the processes that live see."""
        rows = await self._db.scan(_REPORTS, {"age": int(within_seconds * SECOND)})
        return [json.loads(row["body"]) for row in rows]

    async def rule_states(self, tenant_id: str | None) -> Sequence[RuleState]:
        rows = await self._db.scan(_RULE_STATES, _view(tenant_id))
        return [RuleState(*(row[name] for name in RuleState.__dataclass_fields__)) for row in rows]

    def say(self, batch: Batch, state: RuleState, *, is_new: bool) -> None:
        """Note what a rule says now."""
        given = {
            "tenant_id_": state.tenant_id,
            "rule_": state.rule,
            "state_": state.state,
            "said_": state.said[:MOST_SAID],
        }
        batch.add(_FIRST_RULE_STATE if is_new else _RULE_STATE, given)

    def forget(self, batch: Batch, *, days: int) -> None:
        """What is long over: alerts, silences, notices, reports of processes that are gone."""
        age = {"age": days * 86_400 * SECOND}
        for statement in (_FORGET_OLD, _FORGET_SILENCES, _FORGET_NOTICES):
            batch.add(statement, age)
        batch.add(_FORGET_REPORTS, {"age": 86_400 * SECOND})


def _view(tenant_id: str | None) -> dict[str, Any]:
    return {"tenant_id": tenant_id or EVERYWHERE, "all_": int(tenant_id is None)}


def _row(alert: Alert) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(alert, name) for name in Alert.__dataclass_fields__}
    row |= {name: json.dumps(row[name]) for name in ("labels", "numbers", "told")}
    return row | {"state": alert.state.value, "said": alert.said[:MOST_SAID]}


def _silence(row: Mapping[str, Any]) -> Silence:
    given = {name: row[name] for name in Silence.__dataclass_fields__}
    return Silence(**given | {"matchers": json.loads(row["matchers"])})
