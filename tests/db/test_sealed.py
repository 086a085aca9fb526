"""The stores over a sealed database: they read what they wrote, and the database holds none of it."""

import gc
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Insert, Update, select, text

import handrail.bootstrap  # noqa: F401 - declares the statements of all rooms
from handrail.core.answers import Awaiting, Handoff
from handrail.core.clock import FrozenClock
from handrail.core.messages import ToolCall, ToolResult
from handrail.core.principal import Principal
from handrail.db import Conflict, Database, Prepared
from handrail.db.sealed import ERASED, SealedDatabase
from handrail.db.sqlite import SqliteDatabase
from handrail.flows.data_classes import DATA_CLASSES, SEALED
from handrail.oversight.escalations import Escalation, EscalationStore
from handrail.protection.encryption import ContentUnreadable, Encryption, Erasure, LocalMasterKeys
from handrail.serving.conversations import Conversation, ConversationStore, Turn, TurnEnd, TurnStatus
from handrail.serving.conversations.tables import message

ANA = Principal("default", "ana")
SECRET = "kestrel-4711"
CALL = ToolCall("call_1", "refund", '{"note":"kestrel-4711"}')


@pytest.fixture
async def plain(sqlite_url: str, clock: FrozenClock) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(Path(sqlite_url.removeprefix("sqlite:///")), clock)
    yield database
    await database.close()


@pytest.fixture
async def encryption(plain: SqliteDatabase, tmp_path: Path, clock: FrozenClock) -> AsyncIterator[Encryption]:
    encryption = Encryption(plain, tmp_path, LocalMasterKeys([b"m" * 32]), clock)
    await encryption.start()
    yield encryption
    await encryption.close()


@pytest.fixture
def sealed(encryption: Encryption) -> Database:
    return encryption.sealed(SEALED)


def _conversation(at: int, who: str = "ana", name: str = "1") -> Conversation:
    return Conversation(f"conv_{name}", "default", who, "shop", "rel_1", "api", 0, 0, None, at, at)


def _turn(at: int, name: str = "1") -> Turn:
    return Turn(f"turn_{name}", "default", f"conv_{name}", 1, TurnStatus.RUNNING, "shop", "rel_1", 0, at)


async def write_conversation(db: Database, at: int, who: str = "ana", name: str = "1") -> None:
    """A conversation with a turn that has all that a turn can have, each with the secret in it."""
    store, turn = ConversationStore(db), _turn(at, name)
    call = ToolCall(f"call_{name}", CALL.name, CALL.arguments)
    async with db.batch() as batch:
        store.add(batch, _conversation(at, who, name))
        store.begin(batch, turn, f"my code is {SECRET}", owner="me", lease_micros=10_000_000)
    async with db.batch() as batch:
        store.add_message(batch, turn, 1, "assistant", "", "agent", at=at, tool_calls=[call])
        store.add_call(batch, turn, call, effect="write")
    async with db.batch() as batch:
        store.end_call(batch, turn, ToolResult(call.id, "refund", f'"{SECRET}"'), at=at)
    end = TurnEnd(
        TurnStatus.REQUIRES_ACTION,
        error_message=SECRET,
        awaiting=Awaiting("confirm", "refund", {"slots": SECRET}),
        parked={"text": SECRET},
    )
    async with db.batch() as batch:
        store.end(batch, turn, end, at=at)
        EscalationStore(db).open(batch, Escalation.of(turn, Handoff(SECRET, "team"), {"said": SECRET}, at))


class TestSealedDatabase:
    async def test_the_stores_read_what_they_wrote(self, sealed: Database, clock: FrozenClock) -> None:
        await write_conversation(sealed, clock.micros())
        store = ConversationStore(sealed)
        conversation = await store.require(ANA, "conv_1")
        assert (conversation.title, conversation.awaiting) == (
            f"my code is {SECRET}",
            Awaiting("confirm", "refund", {"slots": SECRET}),
        )
        turn = await store.find_turn("default", "turn_1")
        assert turn is not None
        assert (turn.error_message, turn.parked) == (SECRET, {"text": SECRET})
        said = await store.turn_messages("default", "turn_1")
        assert [(each.content, list(each.tool_calls)) for each in said] == [
            (f"my code is {SECRET}", []),
            ("", [CALL]),
        ]
        (call,) = await store.turn_calls("default", "turn_1")
        assert (call.arguments, call.result) == (CALL.arguments, f'"{SECRET}"')
        (case,) = await EscalationStore(sealed).list("default")
        assert (case.reason, case.summary) == (SECRET, {"said": SECRET})

    async def test_no_file_holds_a_word_of_it(
        self, sealed: Database, plain: SqliteDatabase, clock: FrozenClock, tmp_path: Path
    ) -> None:
        await write_conversation(sealed, clock.micros())
        assert not _holding(tmp_path, SECRET)
        await write_conversation(plain, clock.micros(), name="2")
        assert _holding(tmp_path, SECRET), "this search would find it"

    async def test_what_was_written_before_there_was_a_key_is_read_as_it_is(
        self, sealed: Database, plain: SqliteDatabase, clock: FrozenClock
    ) -> None:
        await write_conversation(plain, clock.micros())
        assert (await ConversationStore(sealed).require(ANA, "conv_1")).title == f"my code is {SECRET}"

    async def test_another_process_finds_whose_a_turn_is(
        self, sealed: Database, encryption: Encryption, clock: FrozenClock
    ) -> None:
        await write_conversation(sealed, clock.micros())
        other = encryption.sealed(SEALED)
        async with other.batch() as batch:
            ConversationStore(other).add_message(batch, _turn(0), 2, "assistant", SECRET, "agent", at=0)
        said = await ConversationStore(sealed).turn_messages("default", "turn_1")
        assert said[-1].content == SECRET

    async def test_content_of_a_destroyed_key_is_a_word_and_no_text(
        self, sealed: Database, encryption: Encryption, clock: FrozenClock
    ) -> None:
        await write_conversation(sealed, clock.micros())
        store = await encryption.store()
        await store.destroy(Erasure("default", store.owner_of("default", "ana"), clock.micros()))
        assert encryption.keys is not None
        encryption.keys.forget()
        said = await ConversationStore(sealed).turn_messages("default", "turn_1")
        assert [each.content for each in said] == [ERASED, ERASED]
        assert (await ConversationStore(sealed).require(ANA, "conv_1")).title is None


class TestAttacks:
    """Somebody who can write to the database, and has no key."""

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE message SET conversation_id = 'conv_2' WHERE conversation_id = 'conv_1'",
            "UPDATE message SET content = (SELECT content FROM message WHERE id = 'm1') "
            "WHERE conversation_id = 'conv_2'",
            "UPDATE message SET content = (SELECT result FROM tool_call WHERE id = 'call_2') "
            "WHERE conversation_id = 'conv_2' AND position = 0",
            "UPDATE message SET content = substr(content, 1, length(content) - 8) || 'AAAAAAA=' "
            "WHERE conversation_id = 'conv_2' AND position = 0",
        ],
        ids=["a message moved to my conversation", "somebody's text in my row", "another field", "changed text"],
    )
    async def test_what_was_moved_or_changed_is_not_shown(
        self, sealed: Database, plain: SqliteDatabase, clock: FrozenClock, change: str
    ) -> None:
        await write_conversation(sealed, clock.micros(), "ben", "1")
        await write_conversation(sealed, clock.micros(), "ana", "2")
        async with plain.batch() as batch:
            batch.add(Prepared(text("UPDATE message SET id = 'm1' WHERE turn_id = 'turn_1' AND position = 0")), {})
            batch.add(Prepared(text(change)), {})
        conversation = await ConversationStore(sealed).require(ANA, "conv_2")
        with pytest.raises(ContentUnreadable, match="changed or moved"):
            await ConversationStore(sealed).messages(conversation, limit=50)

    async def test_somebody_elses_conversation_given_to_me_does_not_open(
        self, sealed: Database, plain: SqliteDatabase, clock: FrozenClock
    ) -> None:
        await write_conversation(sealed, clock.micros(), "ben", "1")
        async with plain.batch() as batch:
            batch.add(Prepared(text("UPDATE conversation SET subject = 'ana' WHERE id = 'conv_1'")), {})
        with pytest.raises(ContentUnreadable):
            await ConversationStore(sealed).require(ANA, "conv_1")

    async def test_another_tenants_conversation_does_not_open(
        self, sealed: Database, plain: SqliteDatabase, clock: FrozenClock
    ) -> None:
        await write_conversation(sealed, clock.micros(), "ana", "1")
        async with plain.batch() as batch:
            batch.add(Prepared(text("UPDATE conversation SET tenant_id = 'other' WHERE id = 'conv_1'")), {})
        with pytest.raises(ContentUnreadable):
            await ConversationStore(sealed).require(Principal("other", "ana"), "conv_1")


class TestStatements:
    async def test_every_statement_that_writes_content_is_seen_as_one(self, sealed: Database) -> None:
        """By the convention of the stores; a statement that breaks it would write plain text."""
        assert isinstance(sealed, SealedDatabase)
        content = {name: set(each.content.split()) for name, each in DATA_CLASSES.items() if each.content}
        missed: list[str] = []
        for prepared in [each for each in gc.get_objects() if isinstance(each, Prepared)]:
            table = getattr(getattr(prepared.statement, "table", None), "name", None)
            # A read may be for the other database alone.
            written = content[table] & _set_from_parameters(prepared) if table in content else None
            if written and written != set(sealed.sealed_by(prepared)):
                missed.append(_sql(prepared))
        assert missed == []

    async def test_a_read_of_content_without_what_opens_it_is_a_mistake_of_ours(self, sealed: Database) -> None:
        with pytest.raises(TypeError, match="without"):
            await sealed.fetch_all(Prepared(select(message.c.content)), {})

    async def test_a_row_that_belongs_to_nothing_is_refused_and_nothing_of_it_is_readable(
        self, sealed: Database, clock: FrozenClock, tmp_path: Path
    ) -> None:
        with pytest.raises(Conflict):
            async with sealed.batch() as batch:
                ConversationStore(sealed).add_message(batch, _turn(0), 0, "user", SECRET, "user", at=clock.micros())
        assert not _holding(tmp_path, SECRET)


def _set_from_parameters(prepared: Prepared) -> set[str]:
    """Columns of one row that a statement sets; for many rows at once, content is given by nobody."""
    names = set(prepared.names("sqlite"))
    if isinstance(prepared.statement, Insert):
        return names
    if not isinstance(prepared.statement, Update) or "id_" not in names:
        return set()
    given = _sql(prepared).partition(" SET ")[2].partition(" WHERE ")[0]
    return {each[1] for each in re.finditer(r"(\w+)=(.*?)(?=, \w+=|$)", given) if "?" in each[2]}


def _sql(prepared: Prepared) -> str:
    return prepared.bind("sqlite", dict.fromkeys(prepared.names("sqlite"), ""))[0].replace("\n", " ")


def _holding(folder: Path, word: str) -> list[str]:
    return [each.name for each in folder.rglob("*") if each.is_file() and word.encode() in each.read_bytes()]
