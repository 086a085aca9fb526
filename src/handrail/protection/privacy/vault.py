"""SQL for tokens. A value is sealed under the key of the conversation's user, like what it was taken from."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, exists, insert, literal, select

from handrail.core.ids import new_id
from handrail.db import Batch, Database, Prepared, scoped
from handrail.protection.privacy.tables import token as _t
from handrail.protection.privacy.tokens import Token

_OF_CONVERSATION = scoped(_t).where(_t.c.conversation_id == bindparam("conversation_id"))
_FIND = Prepared(_OF_CONVERSATION.where(_t.c.handle == bindparam("handle")))
_DELETE_OF_CONVERSATION = Prepared(
    delete(_t).where(_t.c.tenant_id == bindparam("tenant_id"), _t.c.conversation_id == bindparam("conversation_id_"))
)
_GIVEN = {each.name: bindparam(each.name, type_=each.type) for each in _t.c}
_SAME = (_t.c.conversation_id == bindparam("conversation_id"), _t.c.handle == bindparam("handle"))
_KEEP = Prepared(
    insert(_t).from_select(
        list(_GIVEN), select(*_GIVEN.values()).where(~exists(select(literal(1)).select_from(_t).where(*_SAME)))
    )
)
# One model call must not make us read without end.
MOST_AT_ONCE = 50


class TokenVault:
    """The table of tokens."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def keep(self, batch: Batch, tenant_id: str, conversation_id: str, tokens: Sequence[Token], at: int) -> None:
        """Store these with whatever else the batch stores; one that is there already stays as it is."""
        for each in tokens:
            batch.add(
                _KEEP,
                {
                    "id": new_id("tok"),
                    "tenant_id": tenant_id,
                    "conversation_id": conversation_id,
                    "handle": each.handle,
                    "kind": each.kind,
                    "value": each.value,
                    "created_at": at,
                },
            )

    async def find(self, tenant_id: str, conversation_id: str, handles: Sequence[str]) -> list[Token]:
        """Those of these handles that were minted in this conversation."""
        found: list[Token] = []
        for handle in handles[:MOST_AT_ONCE]:
            wanted = {"tenant_id": tenant_id, "conversation_id": conversation_id, "handle": handle}
            row = await self._db.fetch_one(_FIND, wanted)
            if row is not None:
                found.append(Token(row["handle"], row["kind"], row["value"]))
        return found

    def delete_of_conversation(self, batch: Batch, tenant_id: str, conversation_id: str) -> None:
        batch.add(_DELETE_OF_CONVERSATION, {"tenant_id": tenant_id, "conversation_id_": conversation_id})
