"""When an approval was first shown to somebody: the moment from which their decision is timed."""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import bindparam, insert

from handrail.db import Conflict, Database, Prepared, now, scoped
from handrail.oversight.approvals.records import Approval
from handrail.oversight.approvals.tables import approval_view as _w

_ADD = Prepared(
    insert(_w).values(
        {
            **{name: bindparam(name, type_=_w.c[name].type) for name in ("tenant_id", "approval_id", "viewer")},
            "shown_at": now(),
        }
    )
)
_KNOWN = Prepared(
    scoped(_w, _w.c.approval_id).where(
        _w.c.viewer == bindparam("viewer"), _w.c.approval_id.between(bindparam("first"), bindparam("last"))
    )
)


class ShownStore:
    """The table of first looks."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def note(self, tenant_id: str, viewer: str, shown: Sequence[Approval]) -> None:
        """Somebody sees these now; only their first look is kept, so a page loaded again writes nothing."""
        ids = sorted(each.id for each in shown)
        if not ids:
            return
        parameters = {"tenant_id": tenant_id, "viewer": viewer, "first": ids[0], "last": ids[-1]}
        known = {row["approval_id"] for row in await self._db.fetch_all(_KNOWN, parameters)}
        fresh = [each for each in ids if each not in known]
        if not fresh:
            return
        # Two pages of one person at the same moment: the other one has noted it.
        with suppress(Conflict):
            async with self._db.batch() as batch:
                for each in fresh:
                    batch.add(_ADD, {"tenant_id": tenant_id, "approval_id": each, "viewer": viewer})
