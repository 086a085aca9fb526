"""The statements of conversations, turns, messages and tool calls."""

from sqlalchemy import Text, and_, bindparam, func, insert, literal, literal_column, null, or_, select, update

from handrail.db import Prepared, now, scoped
from handrail.serving.conversations import tables

_c, _t, _m, _k = (
    tables.conversation,
    tables.turn,
    tables.message,
    tables.tool_call,
)

# Greater than every id in any collation: ids are `conv_` and hex digits.
NO_BOUND = "conv_g"
# Literal, so that both databases see that the partial index answers it.
_IS_OPEN = _t.c.status.in_([literal_column("'queued'"), literal_column("'running'")])

ADD_CONVERSATION = Prepared(insert(_c))
_OPEN = select(func.count()).where(_t.c.conversation_id == _c.c.id, _IS_OPEN).scalar_subquery()
FIND_CONVERSATION = Prepared(scoped(_c, _c, _OPEN.label("open_turns")).where(_c.c.id == bindparam("id")))
LIST_CONVERSATIONS = Prepared(
    scoped(_c)
    .where(_c.c.subject == bindparam("subject"), _c.c.id < bindparam("before"))
    .order_by(_c.c.id.desc())
    .limit(bindparam("limit"))
)
LIST_ALL = Prepared(scoped(_c).where(_c.c.id < bindparam("before")).order_by(_c.c.id.desc()).limit(bindparam("limit")))
ADVANCE = Prepared(
    update(_c)
    .where(
        _c.c.tenant_id == bindparam("tenant_id"),
        _c.c.id == bindparam("id_"),
        _c.c.turn_count == bindparam("seen_count"),
    )
    .values(
        turn_count=bindparam("new_count"),
        title=func.coalesce(_c.c.title, bindparam("title_", type_=Text)),
        updated_at=bindparam("at"),
    )
)
AFTER_TURN = Prepared(
    update(_c)
    .where(_c.c.tenant_id == bindparam("tenant_id"), _c.c.id == bindparam("id_"))
    .values(awaiting=bindparam("awaiting_"), failures=bindparam("failures_"), updated_at=bindparam("at"))
)
# The lease by the database's clock, like all that compares with it: this process's may go wrong.
ADD_TURN = Prepared(
    insert(_t).values(lease_expires_at=now() + bindparam("lease_micros", type_=_t.c.created_at.type)),
    [column.name for column in _t.c if column.name != "lease_expires_at"],
)
NEWEST_TURNS = Prepared(
    scoped(_t)
    .where(_t.c.conversation_id == bindparam("conversation_id"))
    .order_by(_t.c.seq.desc())
    .limit(bindparam("limit"))
)
FIND_TURN = Prepared(scoped(_t).where(_t.c.id == bindparam("id")))
OPEN_TURNS = Prepared(
    scoped(_t, _t.c.id, _t.c.status)
    .where(_t.c.conversation_id == bindparam("conversation_id"), _IS_OPEN)
    .order_by(_t.c.seq)
)
CLAIM = Prepared(
    update(_t)
    .where(_t.c.tenant_id == bindparam("tenant_id"), _t.c.id == bindparam("id_"), _t.c.status == "queued")
    .values(
        status="running",
        owner=bindparam("owner_"),
        epoch=_t.c.epoch + 1,
        started_at=bindparam("at"),
        lease_expires_at=now() + bindparam("lease_micros", type_=_t.c.started_at.type),
    )
)
END_TURN = Prepared(
    update(_t)
    .where(_t.c.tenant_id == bindparam("tenant_id"), _t.c.id == bindparam("id_"), _t.c.epoch == bindparam("seen_epoch"))
    .values(
        {
            name: bindparam(f"{name}_")
            for name in [
                "status",
                "intent",
                "confidence",
                "action",
                "route",
                "latency_class",
                "awaiting",
                "escalation_id",
                "parked",
                "ladder",
                "tripped",
                "error_code",
                "error_message",
                "input_tokens",
                "output_tokens",
                "cost_micros",
                "overhead_micros",
                "event_seq",
                "ended_at",
            ]
        }
    )
)
PRICE_TURN = Prepared(
    update(_t)
    .where(_t.c.tenant_id == bindparam("tenant_id"), _t.c.id == bindparam("id_"), _t.c.ended_at.is_not(None))
    .values(cost_micros=bindparam("cost_micros_"))
)
# The question of a release that may not answer any more is not answered by another.
MOVE = Prepared(
    update(_c)
    .where(_c.c.tenant_id == bindparam("tenant_id"), _c.c.id == bindparam("id_"))
    .values(release_id=bindparam("release_id_"), awaiting=null())
)
MOVE_TURN = Prepared(
    update(_t)
    .where(_t.c.tenant_id == bindparam("tenant_id"), _t.c.id == bindparam("id_"))
    .values(release_id=bindparam("release_id_"), moved_from=bindparam("moved_from_", type_=Text))
)
CANCEL_QUEUED = Prepared(
    update(_t)
    .where(_t.c.tenant_id == bindparam("tenant_id"), _t.c.id == bindparam("id_"), _t.c.status == "queued")
    .values(status="cancelled", ended_at=bindparam("at"))
)
CANCEL_PARKED = Prepared(
    update(_t)
    .where(_t.c.tenant_id == bindparam("tenant_id"), _t.c.id == bindparam("id_"), _t.c.status == "requires_action")
    .values(status="cancelled", error_code="cancelled", parked=null(), ended_at=bindparam("at"))
)
STILL_PARKED = Prepared(
    update(_t)
    .where(
        _t.c.tenant_id == bindparam("tenant_id"),
        _t.c.id == bindparam("id_"),
        _t.c.epoch == bindparam("seen_epoch"),
        _t.c.status == "requires_action",
    )
    .values(event_seq=_t.c.event_seq)
)
# Fencing for batches that do not end the turn: touches the row only if this owner still holds it.
STILL_MINE = Prepared(
    update(_t)
    .where(
        _t.c.tenant_id == bindparam("tenant_id"),
        _t.c.id == bindparam("id_"),
        _t.c.epoch == bindparam("seen_epoch"),
        _t.c.status == "running",
    )
    .values(lease_expires_at=now() + bindparam("lease_micros", type_=_t.c.started_at.type))
)
ADD_MESSAGE = Prepared(insert(_m))
HISTORY = Prepared(
    scoped(_m)
    .where(
        _m.c.conversation_id == bindparam("conversation_id"),
        # What a client says came before this turn stands at negative positions of the turn itself.
        or_(
            _m.c.turn_seq < bindparam("before_seq"),
            and_(_m.c.turn_seq == bindparam("before_seq"), _m.c.position < 0),
        ),
    )
    .order_by(_m.c.turn_seq.desc(), _m.c.position.desc())
    .limit(bindparam("limit"))
)
TURN_MESSAGES = Prepared(scoped(_m).where(_m.c.turn_id == bindparam("turn_id")).order_by(_m.c.position))
CONVERSATION_CALLS = Prepared(
    scoped(_k).where(_k.c.conversation_id == bindparam("conversation_id")).order_by(_k.c.created_at, _k.c.id)
)
TURN_CALLS = Prepared(scoped(_k).where(_k.c.turn_id == bindparam("turn_id")).order_by(_k.c.created_at, _k.c.id))
FIND_CALL = Prepared(scoped(_k).where(_k.c.id == bindparam("id")))
# When a call has begun is compared with the database's clock before anybody asks what became of it.
ADD_CALL = Prepared(
    insert(_k).values(created_at=now()), [column.name for column in _k.c if column.name != "created_at"]
)
END_CALL = Prepared(
    update(_k)
    .where(_k.c.tenant_id == bindparam("tenant_id"), _k.c.id == bindparam("id_"), _k.c.status == "intent")
    .values(
        status=bindparam("status_"),
        result=bindparam("result_"),
        ladder=bindparam("ladder_"),
        tripped=bindparam("tripped_"),
        ended_at=bindparam("at"),
    )
)
END_CALLS = Prepared(
    update(_k)
    .where(_k.c.tenant_id == bindparam("tenant_id"), _k.c.turn_id == bindparam("turn_id_"), _k.c.status == "intent")
    .values(status="unknown", result=bindparam("result_"), ended_at=bindparam("at"))
)
ALIVE = Prepared(select(literal(1).label("one")))
