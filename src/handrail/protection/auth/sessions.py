"""Sessions of the console: who is signed in, by a random cookie of which only the hash is stored."""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, delete, insert, select, update

from handrail.core import json
from handrail.core.ids import new_id
from handrail.core.principal import Principal, Role
from handrail.db import Batch, Conflict, Database, Prepared, Row, StoreUnavailable, now, scoped
from handrail.protection.auth.tables import api_key, console_session

COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")
MICROS = 1_000_000
# When somebody was last seen decides only when they are signed out: a write a minute is exact enough.
SEEN_MICROS = 60 * MICROS

_s, _k = console_session, api_key
_ADD = Prepared(insert(_s))
# What has become of a session's key since is read with it.
_WITH_KEY = (_s, _k.c.revoked_at.label("key_revoked_at"), _k.c.expires_at.label("key_expires_at"), now().label("now"))
_JOINED = _s.outerjoin(_k, and_(_k.c.tenant_id == _s.c.tenant_id, _k.c.id == _s.c.key_id))
# The one query that knows no tenant yet: the cookie says whose session it is, as a key does.
_BY_HASH = Prepared(select(*_WITH_KEY).select_from(_JOINED).where(_s.c.hash == bindparam("hash")))
_LIST = Prepared(scoped(_s, *_WITH_KEY).select_from(_JOINED).order_by(_s.c.id.desc()))
_SEEN = Prepared(
    update(_s)
    .where(_s.c.tenant_id == bindparam("of_tenant"), _s.c.id == bindparam("session"))
    .values(seen_at=bindparam("at"))
)
_END = Prepared(delete(_s).where(_s.c.tenant_id == bindparam("of_tenant"), _s.c.id == bindparam("session")))
_END_THEIRS = Prepared(
    delete(_s).where(
        _s.c.tenant_id == bindparam("of_tenant"),
        _s.c.subject == bindparam("of_subject"),
        _s.c.created_at <= bindparam("until"),
    )
)
_END_EXPIRED = Prepared(delete(_s).where(_s.c.expires_at <= bindparam("at")))


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lasts without a sign of life, and at most."""

    idle_seconds: float = 3600.0
    most_seconds: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in; `key_id` is how they came in: a key, or a link."""

    id: str
    tenant_id: str
    subject: str
    roles: frozenset[Role]
    scopes: frozenset[str]
    teams: frozenset[str]
    key_id: str
    hash: str
    created_at: int
    seen_at: int
    expires_at: int

    @classmethod
    def of(cls, row: Row) -> "Session":
        return cls(
            id=row["id"],
            tenant_id=row["tenant_id"],
            subject=row["subject"],
            roles=frozenset(Role(each) for each in json.loads(row["roles"])),
            scopes=frozenset(json.loads(row["scopes"])),
            teams=frozenset(json.loads(row["teams"])),
            key_id=row["key_id"],
            hash=row["hash"],
            created_at=row["created_at"],
            seen_at=row["seen_at"],
            expires_at=row["expires_at"],
        )

    @property
    def principal(self) -> Principal:
        return Principal(self.tenant_id, self.subject, self.roles, self.scopes, self.key_id, self.teams)


class SessionStore:
    """The table of sessions. One read a page, so that an end made anywhere holds at once."""

    def __init__(self, db: Database, limits: SessionLimits | None = None) -> None:
        self._db = db
        self.limits = limits or SessionLimits()

    def begin(self, batch: Batch, principal: Principal, *, at: int) -> tuple[Session, str]:
        """Sign a principal in; the text is for their cookie and nowhere else. Sessions that are over are removed."""
        text = new_secret()
        session = Session(
            id=new_id("ses"),
            tenant_id=principal.tenant_id,
            subject=principal.subject,
            roles=principal.roles,
            scopes=principal.scopes,
            teams=principal.teams,
            key_id=principal.key_id or "",
            hash=hash_of(text),
            created_at=at,
            seen_at=at,
            expires_at=at + int(self.limits.most_seconds * MICROS),
        )
        batch.add(_END_EXPIRED, {"at": at})
        batch.add(_ADD, _row(session))
        return session, text

    async def find(self, text: str) -> Session | None:
        """The session of a cookie, while it lasts; that its person was seen is stored about once a minute."""
        if not COOKIE.fullmatch(text):
            return None
        row = await self._db.fetch_one(_BY_HASH, {"hash": hash_of(text)})
        if row is None or why_over(row, self.limits) is not None:
            return None
        if row["now"] - row["seen_at"] >= SEEN_MICROS:
            # A disk that is full must not lock out readers.
            with suppress(StoreUnavailable, Conflict):
                async with self._db.batch() as batch:
                    batch.add(_SEEN, {"of_tenant": row["tenant_id"], "session": row["id"], "at": row["now"]})
        return Session.of(row)

    async def list(self, tenant_id: str) -> Sequence[Session]:
        """The tenant's sessions that can still be used, newest first."""
        found = await self._db.scan(_LIST, {"tenant_id": tenant_id})
        return [Session.of(row) for row in found if why_over(row, self.limits) is None]

    def end(self, batch: Batch, session: Session) -> None:
        """Sign out, for good; ending what has ended is no mistake."""
        batch.add(_END, {"of_tenant": session.tenant_id, "session": session.id})

    def end_all(self, batch: Batch, tenant_id: str, subject: str, *, until: int) -> None:
        """Sign a principal out wherever they signed in until then."""
        batch.add(_END_THEIRS, {"of_tenant": tenant_id, "of_subject": subject, "until": until})


def why_over(row: Mapping[str, Any], limits: SessionLimits) -> str | None:
    """Why a session can't be used any more; None while it can. Pure."""
    at: int = row["now"]
    if at >= row["expires_at"]:
        return "its time is over"
    if at - row["seen_at"] >= limits.idle_seconds * MICROS:
        return "nobody used it for too long"
    if row["key_revoked_at"] is not None:
        return "its key was revoked"
    if row["key_expires_at"] is not None and at >= row["key_expires_at"]:
        return "its key has expired"
    return None


def new_secret() -> str:
    """256 random bits as text for an address or a cookie."""
    return secrets.token_urlsafe(32)


def hash_of(text: str) -> str:
    # As with keys: random enough that slowness would save nothing.
    return hashlib.sha256(text.encode()).hexdigest()


def _row(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "tenant_id": session.tenant_id,
        "subject": session.subject,
        "roles": json.dumps(sorted(role.value for role in session.roles)),
        "scopes": json.dumps(sorted(session.scopes)),
        "teams": json.dumps(sorted(session.teams)),
        "key_id": session.key_id,
        "hash": session.hash,
        "created_at": session.created_at,
        "seen_at": session.seen_at,
        "expires_at": session.expires_at,
    }
