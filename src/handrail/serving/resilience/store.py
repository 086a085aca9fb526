"""SQL for switches: the database says what is off, so that it is off on every replica and after every restart."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Text, bindparam, insert, or_, select, update

from handrail.db import Batch, Database, Prepared, now
from handrail.serving.resilience.switches import EVERYWHERE, Switch
from handrail.serving.resilience.tables import switch as _s

_ADD = Prepared(
    insert(_s).values(
        {
            **{column.name: bindparam(column.name, type_=column.type) for column in _s.c},
            "created_at": now(),
        }
    )
)
_RELEASE = Prepared(
    update(_s)
    .where(_s.c.tenant_id == bindparam("tenant_id"), _s.c.id == bindparam("id_"), _s.c.released_at.is_(None))
    .values(
        released_at=now(),
        released_by=bindparam("released_by_", type_=Text),
        release_reason=bindparam("release_reason_", type_=Text),
    )
)
_OFF = Prepared(select(_s).where(_s.c.released_at.is_(None)))
_HIS = or_(_s.c.tenant_id == bindparam("tenant_id"), _s.c.tenant_id == EVERYWHERE)
_FIND = Prepared(select(_s).where(_HIS, _s.c.id == bindparam("id")))
_FIND_ANY = Prepared(select(_s).where(_s.c.id == bindparam("id")))
_IN_FORCE = Prepared(
    select(_s).where(
        _s.c.tenant_id == bindparam("tenant_id"),
        _s.c.kind == bindparam("kind"),
        _s.c.name == bindparam("name"),
        _s.c.released_at.is_(None),
    )
)
# Of what is off nothing may be cut away by newer rows that have ended.
_WANTED = or_(bindparam("all_too", type_=BigInteger) == 1, _s.c.released_at.is_(None))
_LIST = Prepared(select(_s).where(_HIS, _WANTED).order_by(_s.c.id.desc()).limit(bindparam("limit", type_=BigInteger)))
_LIST_ALL = Prepared(select(_s).where(_WANTED).order_by(_s.c.id.desc()).limit(bindparam("limit", type_=BigInteger)))


class SwitchStore:
    """The table of switches. `tenant_id=None` asks for those of all tenants: the local operator's view."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def switch_off(self, batch: Batch, new: Switch) -> None:
        """`Conflict` when it is off already."""
        row = {name: getattr(new, name) for name in Switch.__dataclass_fields__}
        batch.add(_ADD, row | {"stops_running": int(new.stops_running)})

    def switch_on(self, batch: Batch, found: Switch, *, by: str, reason: str | None) -> None:
        """`Conflict` when it is on already."""
        parameters = {"tenant_id": found.tenant_id, "id_": found.id, "released_by_": by, "release_reason_": reason}
        batch.add(_RELEASE, parameters, expect=1)

    async def off(self) -> Sequence[Switch]:
        """All that is off now, of all tenants."""
        return [Switch.of(row) for row in await self._db.fetch_all(_OFF, {})]

    async def find(self, tenant_id: str | None, switch_id: str) -> Switch | None:
        if tenant_id is None:
            row = await self._db.fetch_one(_FIND_ANY, {"id": switch_id})
        else:
            row = await self._db.fetch_one(_FIND, {"tenant_id": tenant_id, "id": switch_id})
        return Switch.of(row) if row else None

    async def in_force(self, tenant_id: str, kind: str, name: str) -> Switch | None:
        """What holds this very thing off, for exactly this tenant (or `EVERYWHERE`)."""
        row = await self._db.fetch_one(_IN_FORCE, {"tenant_id": tenant_id, "kind": kind, "name": name})
        return Switch.of(row) if row else None

    async def newest(self, tenant_id: str | None, *, limit: int, ended_too: bool = False) -> Sequence[Switch]:
        """What is off, the newest first; with `ended_too` also what was."""
        wanted = {"limit": limit, "all_too": int(ended_too)}
        if tenant_id is None:
            rows = await self._db.scan(_LIST_ALL, wanted)
        else:
            rows = await self._db.scan(_LIST, {"tenant_id": tenant_id, **wanted})
        return [Switch.of(row) for row in rows]
