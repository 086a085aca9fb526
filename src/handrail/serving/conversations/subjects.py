"""All that is stored of one user: found for their request, and deleted when they are erased."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, tuple_

from handrail.db import Batch, Database, Prepared, scoped
from handrail.serving.conversations import tables
from handrail.serving.conversations.records import Conversation

_c, _i = tables.conversation, tables.idempotency_key
_OF_SUBJECT = Prepared(
    scoped(_c)
    .where(_c.c.subject == bindparam("subject"), _c.c.id > bindparam("after"), _c.c.created_at <= bindparam("until"))
    .order_by(_c.c.id)
    .limit(bindparam("limit"))
)
_SUBJECTS = Prepared(select(_c.c.tenant_id, _c.c.subject).distinct())
_AFTER = Prepared(
    select(_c.c.tenant_id, _c.c.subject)
    .distinct()
    .where(tuple_(_c.c.tenant_id, _c.c.subject) > tuple_(bindparam("tenant_id"), bindparam("subject")))
    .order_by(_c.c.tenant_id, _c.c.subject)
    .limit(bindparam("limit"))
)
_FORGET_KEYS = Prepared(
    delete(_i).where(
        _i.c.tenant_id == bindparam("tenant_id"),
        _i.c.subject == bindparam("subject_"),
        _i.c.created_at <= bindparam("until"),
    )
)


class SubjectRecords:
    """Conversations by user."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(
        self, tenant_id: str, subject: str, *, until: int, after: str = "", limit: int = 100
    ) -> Sequence[Conversation]:
        """A user's conversations that were opened until then, in that order."""
        parameters = {"tenant_id": tenant_id, "subject": subject, "after": after, "until": until, "limit": limit}
        return [Conversation.of(row) for row in await self._db.scan(_OF_SUBJECT, parameters)]

    async def subjects(self) -> Sequence[tuple[str, str]]:
        """Every user of every tenant who has a conversation."""
        return [(row["tenant_id"], row["subject"]) for row in await self._db.scan(_SUBJECTS, {})]

    async def after(self, tenant_id: str, subject: str, *, limit: int) -> Sequence[tuple[str, str]]:
        """The next of them, in that order."""
        rows = await self._db.scan(_AFTER, {"tenant_id": tenant_id, "subject": subject, "limit": limit})
        return [(row["tenant_id"], row["subject"]) for row in rows]

    def forget_keys(self, batch: Batch, tenant_id: str, subject: str, *, until: int) -> None:
        """What their Idempotency-Keys made."""
        batch.add(_FORGET_KEYS, {"tenant_id": tenant_id, "subject_": subject, "until": until})
