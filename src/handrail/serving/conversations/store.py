"""SQL for conversations. Methods that take a batch append to it; the flow commits."""

from collections.abc import Sequence

from handrail.core import json
from handrail.core.answers import Awaiting
from handrail.core.errors import HandrailError, NotFound
from handrail.core.ids import new_id
from handrail.core.messages import Message, Provenance, ToolCall, ToolResult
from handrail.core.principal import Principal
from handrail.db import Batch, Database
from handrail.serving.conversations import statements as sql
from handrail.serving.conversations.idempotency import IdempotencyKeys
from handrail.serving.conversations.policy import can_read, title_of
from handrail.serving.conversations.records import (
    Conversation,
    StoredMessage,
    StoredToolCall,
    Turn,
    TurnEnd,
    TurnStatus,
)


class ConversationBusy(HandrailError):
    """One turn runs and as many wait as may wait."""

    code = "conversation_busy"
    retryable = True


class Fenced(HandrailError):
    """Another process owns this turn now; this one stops at once and writes nothing more."""

    code = "fenced"


_NOBODY_KNOWS = json.dumps({"error": {"code": "unknown", "message": "the turn ended before this call did"}})


class ConversationStore:
    """Reads and writes over the tables of conversations, turns, messages and tool calls."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.idempotency = IdempotencyKeys(db)

    async def ping(self) -> None:
        """Raises `StoreUnavailable` when the database does not answer."""
        await self._db.fetch_one(sql.ALIVE, {})

    # conversations

    def add(self, batch: Batch, conversation: Conversation) -> None:
        batch.add(
            sql.ADD_CONVERSATION,
            {
                "id": conversation.id,
                "tenant_id": conversation.tenant_id,
                "subject": conversation.subject,
                "agent": conversation.agent,
                "release_id": conversation.release_id,
                "channel": conversation.channel,
                "title": None,
                "turn_count": 0,
                "failures": 0,
                "awaiting": None,
                "created_at": conversation.created_at,
                "updated_at": conversation.created_at,
            },
        )

    async def require(self, principal: Principal, conversation_id: str) -> Conversation:
        """The conversation, or `NotFound` also when it is somebody else's."""
        row = await self._db.fetch_one(sql.FIND_CONVERSATION, {"tenant_id": principal.tenant_id, "id": conversation_id})
        conversation = Conversation.of(row, open_turns=row["open_turns"]) if row else None
        if conversation is None or not can_read(principal, conversation):
            raise NotFound(f"there is no conversation {conversation_id!r}", param="conversation_id")
        return conversation

    async def find(self, tenant_id: str, conversation_id: str) -> Conversation:
        """For the server's own use, when no principal asks; `NotFound` when it is gone."""
        row = await self._db.fetch_one(sql.FIND_CONVERSATION, {"tenant_id": tenant_id, "id": conversation_id})
        if row is None:
            raise NotFound(f"there is no conversation {conversation_id!r}", param="conversation_id")
        return Conversation.of(row, open_turns=row["open_turns"])

    async def newest(
        self, principal: Principal, *, everyone: bool = False, before: str | None = None, limit: int = 50
    ) -> Sequence[Conversation]:
        """Newest first; `before` is the id of the last one seen."""
        parameters = {"tenant_id": principal.tenant_id, "before": before or sql.NO_BOUND, "limit": limit}
        if everyone:
            rows = await self._db.scan(sql.LIST_ALL, parameters)
        else:
            rows = await self._db.scan(sql.LIST_CONVERSATIONS, {**parameters, "subject": principal.subject})
        return [Conversation.of(row) for row in rows]

    # turns

    def begin(
        self,
        batch: Batch,
        turn: Turn,
        text: str,
        *,
        owner: str,
        lease_micros: int,
        earlier: Sequence[Message] = (),
        withheld: bool = False,
    ) -> None:
        """Commit (a): the turn and its user message; `turn.seq` must be the next one or the batch conflicts.

        `earlier` are messages a client says came before; they are kept with provenance `client`. A message that is
        `withheld` is in the transcript for people and in no model's history.
        """
        key = {"tenant_id": turn.tenant_id}
        batch.add(
            sql.ADVANCE,
            key
            | {
                "id_": turn.conversation_id,
                "seen_count": turn.seq - 1,
                "new_count": turn.seq,
                "title_": title_of(text),
                "at": turn.created_at,
            },
            expect=1,
        )
        running = turn.status is TurnStatus.RUNNING
        batch.add(
            sql.ADD_TURN,
            {
                "id": turn.id,
                "tenant_id": turn.tenant_id,
                "conversation_id": turn.conversation_id,
                "seq": turn.seq,
                "status": turn.status.value,
                "agent": turn.agent,
                "release_id": turn.release_id,
                "moved_from": turn.moved_from,
                "intent": None,
                "confidence": None,
                "action": None,
                "route": None,
                "latency_class": None,
                "awaiting": None,
                "escalation_id": None,
                "roles": json.dumps(turn.roles) if turn.roles else None,
                "scopes": json.dumps(turn.scopes) if turn.scopes else None,
                "teams": json.dumps(turn.teams) if turn.teams else None,
                "parked": None,
                "ladder": None,
                "tripped": json.dumps(list(turn.tripped)) if turn.tripped else None,
                "owner": owner if running else None,
                "epoch": turn.epoch,
                "lease_micros": lease_micros if running else None,
                "event_seq": 0,
                "trace_id": turn.trace_id,
                "error_code": None,
                "error_message": None,
                "input_tokens": None,
                "output_tokens": None,
                "cost_micros": None,
                "overhead_micros": None,
                "created_at": turn.created_at,
                "started_at": turn.created_at if running else None,
                "ended_at": None,
                "cancel_requested_at": None,
            },
        )
        if turn.moved_from is not None:
            batch.add(sql.MOVE, key | {"id_": turn.conversation_id, "release_id_": turn.release_id})
        for position, message in enumerate(earlier):
            self.add_message(
                batch, turn, position - len(earlier), message.role, message.content, "client", at=turn.created_at
            )
        self.add_message(batch, turn, 0, "user", text, "withheld" if withheld else "user", at=turn.created_at)

    async def find_turn(self, tenant_id: str, turn_id: str) -> Turn | None:
        row = await self._db.fetch_one(sql.FIND_TURN, {"tenant_id": tenant_id, "id": turn_id})
        return Turn.of(row) if row else None

    async def turns(self, tenant_id: str, conversation_id: str, *, limit: int) -> list[Turn]:
        """The newest turns of a conversation, oldest first."""
        given = {"tenant_id": tenant_id, "conversation_id": conversation_id, "limit": limit}
        return [Turn.of(row) for row in reversed(await self._db.scan(sql.NEWEST_TURNS, given))]

    async def require_turn(self, principal: Principal, turn_id: str) -> Turn:
        """The turn, or `NotFound` also when its conversation is somebody else's."""
        turn = await self.find_turn(principal.tenant_id, turn_id)
        if turn is None:
            raise NotFound(f"there is no turn {turn_id!r}", param="turn_id")
        try:
            await self.require(principal, turn.conversation_id)
        except NotFound as error:
            raise NotFound(f"there is no turn {turn_id!r}", param="turn_id") from error
        return turn

    async def open_turns(self, tenant_id: str, conversation_id: str) -> list[tuple[str, TurnStatus]]:
        """(id, status) of what runs or waits, in order."""
        rows = await self._db.fetch_all(sql.OPEN_TURNS, {"tenant_id": tenant_id, "conversation_id": conversation_id})
        return [(row["id"], TurnStatus(row["status"])) for row in rows]

    def claim(self, batch: Batch, turn: Turn, *, owner: str, lease_micros: int, at: int) -> None:
        """A waiting turn becomes the running one; `Conflict` when another runs or was faster."""
        batch.add(
            sql.CLAIM,
            {"tenant_id": turn.tenant_id, "id_": turn.id, "owner_": owner, "lease_micros": lease_micros, "at": at},
            expect=1,
        )

    def move(self, batch: Batch, turn: Turn) -> None:
        """A waiting turn and its conversation go on under `turn.release_id` instead of `turn.moved_from`."""
        key = {"tenant_id": turn.tenant_id, "release_id_": turn.release_id}
        batch.add(sql.MOVE, key | {"id_": turn.conversation_id})
        batch.add(sql.MOVE_TURN, key | {"id_": turn.id, "moved_from_": turn.moved_from})

    def end(self, batch: Batch, turn: Turn, end: TurnEnd, *, at: int) -> None:
        """Commit (d) without the answer; fenced by the epoch."""
        batch.add(
            sql.END_TURN,
            {
                "tenant_id": turn.tenant_id,
                "conversation_id": turn.conversation_id,
                "id_": turn.id,
                "seen_epoch": turn.epoch,
                "status_": end.status.value,
                "intent_": end.intent,
                "confidence_": end.confidence,
                "action_": end.action,
                "route_": json.dumps(end.route) if end.route is not None else None,
                "latency_class_": end.latency_class,
                "awaiting_": end.awaiting.kind if end.awaiting else None,
                "escalation_id_": end.escalation_id,
                "parked_": json.dumps(end.parked) if end.parked is not None else None,
                "ladder_": json.dumps(list(end.ladder)) if end.ladder else None,
                "tripped_": json.dumps(list(end.tripped)) if end.tripped else None,
                "error_code_": end.error_code,
                "error_message_": end.error_message,
                "input_tokens_": end.usage.input_tokens,
                "output_tokens_": end.usage.output_tokens,
                "cost_micros_": end.cost_micros,
                "overhead_micros_": end.overhead_micros,
                "event_seq_": end.event_seq,
                "ended_at_": at,
            },
            expect=1,
        )
        batch.add(
            sql.AFTER_TURN,
            {
                "tenant_id": turn.tenant_id,
                "id_": turn.conversation_id,
                "awaiting_": _awaiting_json(end.awaiting),
                "failures_": end.failures,
                "at": at,
            },
            expect=1,
        )

    def price(self, batch: Batch, tenant_id: str, turn_id: str, cost_micros: int) -> None:
        """What a turn that has ended cost is known now; one that goes on tells it with its end."""
        batch.add(sql.PRICE_TURN, {"tenant_id": tenant_id, "id_": turn_id, "cost_micros_": cost_micros})

    def cancel_queued(self, batch: Batch, turn: Turn, *, at: int) -> None:
        batch.add(sql.CANCEL_QUEUED, {"tenant_id": turn.tenant_id, "id_": turn.id, "at": at}, expect=1)

    def cancel_parked(self, batch: Batch, turn: Turn, *, at: int) -> None:
        """A turn that waits for people ends; `Conflict` when it has gone on."""
        batch.add(sql.CANCEL_PARKED, {"tenant_id": turn.tenant_id, "id_": turn.id, "at": at}, expect=1)

    def still_parked(self, batch: Batch, turn: Turn) -> None:
        """Fence this batch by the turn's waiting for people: `Conflict` when it has gone on or ended."""
        batch.add(sql.STILL_PARKED, {"tenant_id": turn.tenant_id, "id_": turn.id, "seen_epoch": turn.epoch}, expect=1)

    def still_mine(self, batch: Batch, turn: Turn, *, lease_micros: int) -> None:
        """Fence this batch by the turn's epoch, and renew the lease on the way."""
        batch.add(
            sql.STILL_MINE,
            {"tenant_id": turn.tenant_id, "id_": turn.id, "seen_epoch": turn.epoch, "lease_micros": lease_micros},
            expect=1,
        )

    # messages and tool calls

    def add_message(
        self,
        batch: Batch,
        turn: Turn,
        position: int,
        role: str,
        content: str,
        provenance: Provenance,
        *,
        at: int,
        message_id: str | None = None,
        tool_calls: Sequence[ToolCall] = (),
        sources: Sequence[str] = (),
    ) -> None:
        batch.add(
            sql.ADD_MESSAGE,
            {
                "id": message_id or new_id("msg"),
                "tenant_id": turn.tenant_id,
                "conversation_id": turn.conversation_id,
                "turn_id": turn.id,
                "turn_seq": turn.seq,
                "position": position,
                "role": role,
                "provenance": provenance,
                "content": content,
                "tool_calls": json.dumps(tool_calls) if tool_calls else None,
                "sources": json.dumps(sources) if sources else None,
                "created_at": at,
            },
        )

    async def history(self, turn: Turn, *, limit: int) -> list[StoredMessage]:
        """The newest `limit` messages before this turn, oldest first."""
        rows = await self._db.fetch_all(
            sql.HISTORY,
            {
                "tenant_id": turn.tenant_id,
                "conversation_id": turn.conversation_id,
                "before_seq": turn.seq,
                "limit": limit,
            },
        )
        return [StoredMessage.of(row) for row in reversed(rows)]

    async def messages(self, conversation: Conversation, *, limit: int) -> list[StoredMessage]:
        """The newest `limit` messages of the whole conversation, oldest first."""
        rows = await self._db.scan(
            sql.HISTORY,
            {
                "tenant_id": conversation.tenant_id,
                "conversation_id": conversation.id,
                "before_seq": conversation.turn_count + 1,
                "limit": limit,
            },
        )
        return [StoredMessage.of(row) for row in reversed(rows)]

    async def turn_messages(self, tenant_id: str, turn_id: str) -> list[StoredMessage]:
        rows = await self._db.fetch_all(sql.TURN_MESSAGES, {"tenant_id": tenant_id, "turn_id": turn_id})
        return [StoredMessage.of(row) for row in rows]

    async def conversation_calls(self, tenant_id: str, conversation_id: str) -> list[StoredToolCall]:
        rows = await self._db.fetch_all(
            sql.CONVERSATION_CALLS, {"tenant_id": tenant_id, "conversation_id": conversation_id}
        )
        return [StoredToolCall.of(row) for row in rows]

    async def turn_calls(self, tenant_id: str, turn_id: str) -> list[StoredToolCall]:
        rows = await self._db.fetch_all(sql.TURN_CALLS, {"tenant_id": tenant_id, "turn_id": turn_id})
        return [StoredToolCall.of(row) for row in rows]

    async def find_call(self, tenant_id: str, call_id: str) -> StoredToolCall | None:
        row = await self._db.fetch_one(sql.FIND_CALL, {"tenant_id": tenant_id, "id": call_id})
        return StoredToolCall.of(row) if row else None

    def add_call(
        self,
        batch: Batch,
        turn: Turn,
        call: ToolCall,
        *,
        effect: str,
        at: int | None = None,
        result: ToolResult | None = None,
    ) -> None:
        """The intent row of a call (before its effect), or the whole row of a read that was done `at`."""
        batch.add(
            sql.ADD_CALL,
            {
                "id": call.id,
                "tenant_id": turn.tenant_id,
                "conversation_id": turn.conversation_id,
                "turn_id": turn.id,
                "provider_id": call.provider_id,
                "name": call.name,
                "effect": effect,
                "arguments": call.arguments,
                "arguments_hash": json.digest(call.arguments),
                "status": result.status if result else "intent",
                "result": result.content if result else None,
                "ladder": _ladder(result) if result else None,
                "tripped": _tripped(result) if result else None,
                "ended_at": at if result else None,
            },
        )

    def end_call(self, batch: Batch, turn: Turn, result: ToolResult, *, at: int) -> None:
        """The result of a call whose intent is stored; a second result conflicts."""
        batch.add(
            sql.END_CALL,
            {
                "tenant_id": turn.tenant_id,
                "conversation_id": turn.conversation_id,
                "id_": result.tool_call_id,
                "status_": result.status,
                "result_": result.content,
                "ladder_": _ladder(result),
                "tripped_": _tripped(result),
                "at": at,
            },
            expect=1,
        )

    def end_calls_unknown(self, batch: Batch, turn: Turn, *, at: int) -> None:
        """The turn ends with calls that have begun: nobody knows what becomes of them."""
        batch.add(sql.END_CALLS, {"tenant_id": turn.tenant_id, "turn_id_": turn.id, "result_": _NOBODY_KNOWS, "at": at})


def _tripped(result: ToolResult) -> str | None:
    return json.dumps(list(result.tripped)) if result.tripped else None


def _ladder(result: ToolResult) -> str | None:
    return json.dumps(result.ladder) if result.ladder else None


def _awaiting_json(awaiting: Awaiting | None) -> str | None:
    return json.dumps(awaiting) if awaiting else None
