import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database, StoreUnavailable
from handrail.insight.traces import FinishedTrace, Sampling, TraceStore, TraceWriter, waterfall
from handrail.serving.conversations import Conversation, ConversationStore
from tests.insight.traces.made import TRACE, finished, turn_trace


@pytest.fixture
async def conversation(db: Database, clock: FrozenClock) -> Conversation:
    now = clock.micros()
    opened = Conversation("conv_1", "default", "ana", "shop", "rel_1", "api", 0, 0, None, now, now)
    async with db.batch() as batch:
        ConversationStore(db).add(batch, opened)
    return opened


class Dropped:
    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}

    def __call__(self, reason: str, count: int) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + count


class Broken:
    """A database that takes nothing."""

    def batch(self, *, long: bool = False) -> object:
        raise StoreUnavailable("no")


class TestTraceWriter:
    async def test_writes_what_waits_and_it_is_found_by_trace_turn_and_conversation(
        self, db: Database, conversation: Conversation
    ) -> None:
        writer, trace = TraceWriter(db), turn_trace()
        trace.end(trace.begin(), "chat", "large", 100.0, None, {"input_tokens": 3}, ended=100.5)
        writer.offer(finished(trace, conversation_id=conversation.id))

        assert await writer.flush() == 1
        store = TraceStore(db)
        (found,) = await store.of_trace("default", TRACE)
        assert [bar.title for bar in waterfall(found)] == ["invoke_agent shop", "chat large"]
        assert found.spans[1].attributes == {"input_tokens": 3}
        assert await store.of_turn("default", "turn_1") == await store.of_conversation("default", conversation.id)

    async def test_another_tenant_finds_nothing(self, db: Database, conversation: Conversation) -> None:
        writer = TraceWriter(db)
        writer.offer(finished(conversation_id=conversation.id))
        await writer.flush()

        assert await writer.store.of_trace("other", TRACE) == []
        assert await writer.store.of_turn("other", "turn_1") == []

    async def test_writes_in_batches_and_keeps_the_order(self, db: Database, conversation: Conversation) -> None:
        writer = TraceWriter(db)
        for number in range(250):
            writer.offer(finished(turn_id=f"turn_{number}", conversation_id=conversation.id, started_at=number))

        assert (await writer.flush(), writer.waiting) == (250, 0)
        assert len(await writer.store.of_turn("default", "turn_249")) == 1

    async def test_drops_and_counts_what_finds_no_room(self, db: Database) -> None:
        dropped = Dropped()
        writer = TraceWriter(db, on_dropped=dropped, most_waiting=3)
        for _ in range(5):
            writer.offer(finished())

        assert (writer.waiting, dropped.reasons) == (3, {"line_full": 2})

    async def test_leaves_out_what_the_sampling_leaves_out(self, db: Database) -> None:
        writer = TraceWriter(db, Sampling(0.0))
        writer.offer(finished(seconds=0.1))
        writer.offer(finished(error_code="internal"))

        assert writer.waiting == 1

    async def test_a_database_that_is_away_loses_nothing_while_there_is_room(self) -> None:
        dropped = Dropped()
        writer = TraceWriter(Broken(), on_dropped=dropped, most_waiting=3)  # type: ignore[arg-type]
        for number in range(3):
            writer.offer(finished(turn_id=f"turn_{number}"))
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await writer.flush()

        assert (writer.waiting, dropped.reasons) == (3, {})

    async def test_a_trace_of_an_erased_conversation_is_not_written_and_keeps_no_other(
        self, db: Database, conversation: Conversation
    ) -> None:
        dropped, sent = Dropped(), list[FinishedTrace]()
        writer = TraceWriter(db, on_dropped=dropped, send_on=lambda each, _: sent.append(each))
        for conversation_id in ("conv_erased", conversation.id):
            writer.offer(finished(conversation_id=conversation_id))

        assert await writer.flush() == 1
        assert dropped.reasons == {"conversation_gone": 1}
        assert [each.conversation_id for each in sent] == [conversation.id]

    async def test_keeps_no_texts_unless_it_can_redact_them(self, db: Database, conversation: Conversation) -> None:
        for redact in (None, lambda text: text.replace("secret", "[redacted]")):
            trace = turn_trace()
            trace.texts[0] = {"input": "my secret"}
            writer = TraceWriter(db, redact=redact)
            writer.offer(finished(trace, conversation_id=conversation.id, turn_id=f"turn_{redact is None}"))
            await writer.flush()

        (without,) = await TraceStore(db).of_turn("default", "turn_True")
        (redacted,) = await TraceStore(db).of_turn("default", "turn_False")
        assert without.content == {}
        assert redacted.content == {0: {"input": "my [redacted]"}}
