"""SQL for feedback, values, verdicts and verified cache hits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, insert, update

from handrail.db import Batch, Database, Prepared, scoped
from handrail.insight.feedback.policy import FeedbackKind
from handrail.insight.feedback.records import CacheVerification, Feedback, ValueEvent, Verdict
from handrail.insight.feedback.tables import cache_verification, feedback, review_verdict, value_event

_f, _e, _v, _c = feedback, value_event, review_verdict, cache_verification
_ADD_FEEDBACK, _ADD_EVENT = Prepared(insert(_f)), Prepared(insert(_e))
_ADD_VERDICT, _ADD_VERIFICATION = Prepared(insert(_v)), Prepared(insert(_c))
_IN_FORCE = Prepared(
    scoped(_f).where(
        _f.c.about == bindparam("about"),
        _f.c.kind == bindparam("kind"),
        _f.c.given_by == bindparam("given_by"),
        _f.c.replaced_at.is_(None),
    )
)
_REPLACE_FEEDBACK = Prepared(
    update(_f)
    .where(_f.c.tenant_id == bindparam("tenant_id_"), _f.c.id == bindparam("id_"), _f.c.replaced_at.is_(None))
    .values(replaced_at=bindparam("at"))
)
_REPLACE_VERDICT = Prepared(
    update(_v)
    .where(
        _v.c.tenant_id == bindparam("tenant_id_"),
        _v.c.turn_id == bindparam("turn_id_"),
        _v.c.reviewer == bindparam("reviewer_"),
        _v.c.replaced_at.is_(None),
    )
    .values(replaced_at=bindparam("at"))
)
_REPLACE_VERIFICATION = Prepared(
    update(_c)
    .where(_c.c.tenant_id == bindparam("tenant_id_"), _c.c.hit == bindparam("hit_"), _c.c.replaced_at.is_(None))
    .values(replaced_at=bindparam("at"))
)
_OF_CONVERSATION = Prepared(scoped(_f).where(_f.c.conversation_id == bindparam("conversation_id")).order_by(_f.c.id))
_VERDICTS = Prepared(scoped(_v).where(_v.c.conversation_id == bindparam("conversation_id")).order_by(_v.c.id))
_EVENTS = Prepared(scoped(_e).where(_e.c.conversation_id == bindparam("conversation_id")).order_by(_e.c.id))
_EVENT = Prepared(scoped(_e).where(_e.c.conversation_id == bindparam("conversation_id"), _e.c.key == bindparam("key")))
_NEWEST = (
    scoped(_f)
    .where(_f.c.id < bindparam("before"), _f.c.replaced_at.is_(None))
    .order_by(_f.c.id.desc())
    .limit(bindparam("limit"))
)
_LIST, _LIST_KIND = Prepared(_NEWEST), Prepared(_NEWEST.where(_f.c.kind == bindparam("kind")))
# Greater than every id in any collation: ids are `fb_` and hex digits.
_NO_BOUND = "fb_g"


class FeedbackStore:
    """The tables of what is said about conversations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def in_force(self, tenant_id: str, about: str, kind: FeedbackKind, given_by: str) -> Feedback | None:
        """What this person says of it now."""
        wanted = {"tenant_id": tenant_id, "about": about, "kind": kind, "given_by": given_by}
        row = await self._db.fetch_one(_IN_FORCE, wanted)
        return Feedback.stored(row) if row is not None else None

    def give(self, batch: Batch, given: Feedback, *, instead_of: Feedback | None = None) -> None:
        """Note a person's word; `Conflict` when another one of theirs came first."""
        if instead_of is not None:
            replaced = {"tenant_id_": instead_of.tenant_id, "id_": instead_of.id, "at": given.created_at}
            batch.add(_REPLACE_FEEDBACK, replaced, expect=1)
        batch.add(_ADD_FEEDBACK, asdict(given) | {"about": given.about})

    async def of_conversation(self, tenant_id: str, conversation_id: str) -> Sequence[Feedback]:
        """All that was ever said about one conversation, oldest first."""
        rows = await self._db.scan(_OF_CONVERSATION, {"tenant_id": tenant_id, "conversation_id": conversation_id})
        return [Feedback.stored(row) for row in rows]

    async def newest(
        self, tenant_id: str, kind: FeedbackKind | None = None, *, before: str | None = None, limit: int = 50
    ) -> Sequence[Feedback]:
        """What holds now, newest first; `before` is the last id of the page before."""
        wanted: dict[str, Any] = {"tenant_id": tenant_id, "before": before or _NO_BOUND, "limit": limit}
        rows = await (self._db.scan(_LIST_KIND, wanted | {"kind": kind}) if kind else self._db.scan(_LIST, wanted))
        return [Feedback.stored(row) for row in rows]

    def record_event(self, batch: Batch, event: ValueEvent) -> None:
        """Put a value on the books; `Conflict` when its key is there already."""
        batch.add(_ADD_EVENT, asdict(event))

    async def event(self, tenant_id: str, conversation_id: str, key: str) -> ValueEvent | None:
        """The event that this key made."""
        wanted = {"tenant_id": tenant_id, "conversation_id": conversation_id, "key": key}
        row = await self._db.fetch_one(_EVENT, wanted)
        return ValueEvent.stored(row) if row is not None else None

    async def events(self, tenant_id: str, conversation_id: str) -> Sequence[ValueEvent]:
        """All values of one conversation, oldest first."""
        rows = await self._db.scan(_EVENTS, {"tenant_id": tenant_id, "conversation_id": conversation_id})
        return [ValueEvent.stored(row) for row in rows]

    def judge(self, batch: Batch, verdict: Verdict) -> None:
        """Note a verdict; the reviewer's earlier one on this turn is replaced."""
        replaced = {"tenant_id_": verdict.tenant_id, "turn_id_": verdict.turn_id, "reviewer_": verdict.reviewer}
        batch.add(_REPLACE_VERDICT, replaced | {"at": verdict.created_at})
        batch.add(_ADD_VERDICT, _plain(asdict(verdict)) | {"replaced_at": None})

    async def verdicts(self, tenant_id: str, conversation_id: str) -> Sequence[Verdict]:
        """All that reviewers found of one conversation, oldest first; those that were replaced too."""
        rows = await self._db.scan(_VERDICTS, {"tenant_id": tenant_id, "conversation_id": conversation_id})
        return [Verdict.stored(row) for row in rows]

    def verify(self, batch: Batch, verification: CacheVerification) -> None:
        """Note whether a cache hit was right; an earlier word on it is replaced, whoever said it."""
        replaced = {"tenant_id_": verification.tenant_id, "hit_": verification.hit, "at": verification.created_at}
        batch.add(_REPLACE_VERIFICATION, replaced)
        batch.add(_ADD_VERIFICATION, _plain(asdict(verification)) | {"replaced_at": None})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Booleans as the database keeps them."""
    return {name: int(value) if isinstance(value, bool) else value for name, value in values.items()}
