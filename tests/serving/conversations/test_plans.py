"""What a turn and the sweeper ask all the time is answered from small indexes, however many turns there were."""

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal
from handrail.db import Database, Prepared
from handrail.db.sqlite import SqliteDatabase
from handrail.serving.conversations import ConversationStore, TurnStatus, leases, statements
from tests.serving.conversations.test_leases import begun


def plan(db: Database, statement: Prepared) -> str:
    """SQLite's own words."""
    assert isinstance(db, SqliteDatabase)
    sql, names, _ = statement._compile("sqlite")
    rows = db._reader.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * len(names)).fetchall()
    return "; ".join(row["detail"] for row in rows)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (statements.OPEN_TURNS, "ix_turn_open (conversation_id=?)"),
        (statements.FIND_CONVERSATION, "ix_turn_open (conversation_id=?)"),
        (statements.HISTORY, "ix_message_transcript (conversation_id=?"),
        (leases._LEFT_WAITING, "ix_turn_open"),
        (leases._EXPIRED, "uq_turn_running"),
        (leases._RENEW, "sqlite_autoindex_turn_1 (id=?)"),
    ],
)
async def test_no_statement_reads_all_turns(sqlite_db: Database, statement: Prepared, index: str) -> None:
    steps = plan(sqlite_db, statement).split("; ")

    assert any(index in step for step in steps)
    assert [step for step in steps if step.startswith("SCAN") and "INDEX" not in step] == []


async def test_a_conversation_tells_how_many_turns_are_open(db: Database, clock: FrozenClock) -> None:
    turns = await begun(db, clock, TurnStatus.COMPLETED, TurnStatus.RUNNING, TurnStatus.QUEUED)
    await begun(db, clock, TurnStatus.RUNNING)

    found = await ConversationStore(db).require(Principal("acme", "ana"), turns[0].conversation_id)

    assert found.open_turns == 2
