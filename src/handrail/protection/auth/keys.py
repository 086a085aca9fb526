"""API keys: made once, shown once, stored as a hash."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, literal_column, null, select, update

from handrail.core import json
from handrail.core.clock import iso
from handrail.core.errors import NotFound, UsageError
from handrail.core.ids import new_id
from handrail.core.principal import Principal, Role
from handrail.db import Batch, Database, Prepared, Row, now, scoped
from handrail.protection.auth.scopes import require_known
from handrail.protection.auth.tables import api_key

KEY = re.compile(r"hr_([0-9a-z]{8})_[0-9a-f]{64}")
_PREFIX_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"

_k = api_key
_ADD = Prepared(insert(_k))
# The one query that knows no tenant yet: the key says which it is. Prefixes are unique over all tenants.
_BY_PREFIX = Prepared(select(_k, now().label("now")).where(_k.c.prefix == bindparam("prefix")))
_FIND = Prepared(scoped(_k).where(_k.c.id == bindparam("id")))
_LIST = Prepared(scoped(_k).order_by(_k.c.id.desc()))
_ANY = Prepared(select(func.count().label("keys")).select_from(select(_k.c.id).limit(1).subquery()))
_REVOKE = Prepared(
    update(_k)
    .where(_k.c.tenant_id == bindparam("of_tenant"), _k.c.id == bindparam("key"), _k.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)
# Of two who replace a key at once one is too late.
_REPLACE = Prepared(
    update(_k)
    .where(
        _k.c.tenant_id == bindparam("of_tenant"),
        _k.c.id == bindparam("key"),
        _k.c.revoked_at.is_(None),
        _k.c.replaced_by.is_(None),
    )
    .values(replaced_by=bindparam("new_key"), expires_at=bindparam("ends"))
)
_OF_SUBJECT = Prepared(
    scoped(_k).where(_k.c.subject == bindparam("subject"), _k.c.created_at <= bindparam("until")).order_by(_k.c.id)
)
_SUBJECTS = Prepared(select(_k.c.tenant_id, _k.c.subject).where(_k.c.subject != literal_column("''")).distinct())
_THEIRS = (
    _k.c.tenant_id == bindparam("of_tenant"),
    _k.c.subject == bindparam("of_subject"),
    _k.c.created_at <= bindparam("until"),
)
_DELETE_THEIRS = Prepared(delete(_k).where(*_THEIRS, _k.c.id != select(func.max(_k.c.id)).scalar_subquery()))
_BLANK_THEIRS = Prepared(
    update(_k)
    .where(*_THEIRS)
    .values(
        subject=literal_column("''"),
        hash=literal_column("''"),
        note=null(),
        last_used_at=null(),
        revoked_at=func.coalesce(_k.c.revoked_at, bindparam("at")),
    )
)
_TOUCH = Prepared(
    update(_k)
    .where(_k.c.tenant_id == bindparam("of_tenant"), _k.c.id == bindparam("key"))
    .values(last_used_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: everything but its secret."""

    id: str
    tenant_id: str
    subject: str
    role: Role
    scopes: tuple[str, ...]
    prefix: str
    hash: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    note: str | None = None
    teams: tuple[str, ...] = ()
    replaced_by: str | None = None

    @classmethod
    def of(cls, row: Row) -> "ApiKey":
        return cls(
            id=row["id"],
            tenant_id=row["tenant_id"],
            subject=row["subject"],
            role=Role(row["role"]),
            scopes=tuple(json.loads(row["scopes"])),
            prefix=row["prefix"],
            hash=row["hash"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            last_used_at=row["last_used_at"],
            note=row["note"],
            teams=tuple(json.loads(row["teams"] or "[]")),
            replaced_by=row["replaced_by"],
        )

    @property
    def principal(self) -> Principal:
        roles, scopes, teams = frozenset({self.role}), frozenset(self.scopes), frozenset(self.teams)
        return Principal(self.tenant_id, self.subject, roles, scopes, self.id, teams)

    def matches(self, text: str) -> bool:
        """Whether `text` is this key, in a time that does not depend on where they differ."""
        return hmac.compare_digest(self.hash, hash_of(text))

    def body(self) -> dict[str, Any]:
        """As the API and `--json` show it; the hash stays inside."""
        return {
            "id": self.id,
            "object": "api_key",
            "tenant_id": self.tenant_id,
            "subject": self.subject,
            "role": self.role.value,
            "scopes": list(self.scopes),
            "teams": list(self.teams),
            "prefix": self.prefix,
            "note": self.note,
            "created_at": iso(self.created_at),
            "expires_at": _iso(self.expires_at),
            "revoked_at": _iso(self.revoked_at),
            "last_used_at": _iso(self.last_used_at),
            "replaced_by": self.replaced_by,
        }

    def successor(self, *, at: int) -> tuple["ApiKey", str]:
        """A key for the same principal, which lasts as long again, and its text."""
        prefix, text = _new_text()
        lasts = None if self.expires_at is None else self.expires_at - self.created_at
        new = replace(
            self,
            id=new_id("key"),
            prefix=prefix,
            hash=hash_of(text),
            created_at=at,
            expires_at=None if lasts is None else at + lasts,
            last_used_at=None,
        )
        return new, text


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key and its text, which is shown now and never again."""

    key: ApiKey
    text: str

    def __repr__(self) -> str:
        return f"CreatedKey(id={self.key.id!r}, prefix={self.key.prefix!r})"

    def body(self) -> dict[str, Any]:
        return {**self.key.body(), "key": self.text}


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key and the database's time when it was read, which its expiry is judged by."""

    key: ApiKey
    now: int


class KeyStore:
    """The table of keys."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(
        self,
        *,
        tenant_id: str,
        subject: str,
        role: Role,
        at: int,
        scopes: Sequence[str] = (),
        expires_at: int | None = None,
        note: str | None = None,
        teams: Sequence[str] = (),
        beside: Callable[[Batch, ApiKey], None] | None = None,
    ) -> CreatedKey:
        """Make a key for a principal. Nothing of its text is stored that would let anybody use it.

        `beside` may append to the same batch.

        Raises:
            UsageError: an end user was to be in a team; teams decide, end users ask. Or there is no such scope.
        """
        require_known(scopes)
        if teams and role is Role.END_USER:
            raise UsageError(
                f"an end user can't be in a team ({', '.join(teams)}); give the key another role, such as 'viewer'",
                param="teams",
            )
        prefix, text = _new_text()
        key = ApiKey(
            id=new_id("key"),
            tenant_id=tenant_id,
            subject=subject,
            role=role,
            scopes=tuple(scopes),
            prefix=prefix,
            hash=hash_of(text),
            created_at=at,
            expires_at=expires_at,
            note=note,
            teams=tuple(dict.fromkeys(teams)),
        )
        async with self._db.batch() as batch:
            self._add(batch, key)
            if beside is not None:
                beside(batch, key)
        return CreatedKey(key, text)

    async def list(self, tenant_id: str) -> Sequence[ApiKey]:
        """The tenant's keys, newest first; revoked ones stay in the list."""
        return [ApiKey.of(row) for row in await self._db.scan(_LIST, {"tenant_id": tenant_id})]

    async def revoke(
        self, tenant_id: str, key_id: str, *, at: int, beside: Callable[[Batch], None] | None = None
    ) -> ApiKey:
        """Stop a key for good; a key that was revoked before keeps its first time.

        Raises:
            NotFound: the tenant has no such key.
        """
        row = await self._db.fetch_one(_FIND, {"tenant_id": tenant_id, "id": key_id})
        if row is None:
            raise NotFound(f"there is no API key {key_id!r}; `handrail keys list` shows them")
        async with self._db.batch() as batch:
            batch.add(_REVOKE, {"of_tenant": tenant_id, "key": key_id, "at": at})
            if beside is not None:
                beside(batch)
        row = await self._db.fetch_one(_FIND, {"tenant_id": tenant_id, "id": key_id})
        if row is None:
            raise NotFound(f"API key {key_id!r} was erased with its user just now")
        return ApiKey.of(row)

    async def subjects(self) -> Sequence[tuple[str, str]]:
        """Every principal who has a key."""
        return [(row["tenant_id"], row["subject"]) for row in await self._db.scan(_SUBJECTS, {})]

    async def of_subject(self, tenant_id: str, subject: str, *, until: int) -> Sequence[ApiKey]:
        """Those of one principal that were made until then."""
        rows = await self._db.scan(_OF_SUBJECT, {"tenant_id": tenant_id, "subject": subject, "until": until})
        return [ApiKey.of(row) for row in rows]

    def forget(self, batch: Batch, tenant_id: str, subject: str, *, until: int, at: int) -> None:
        """Remove the keys of a principal that were made until then.

        The newest of all stays as a revoked key of nobody: that there was one keeps the door closed.
        """
        theirs = {"of_tenant": tenant_id, "of_subject": subject, "until": until}
        batch.add(_DELETE_THEIRS, theirs)
        batch.add(_BLANK_THEIRS, theirs | {"at": at})

    async def rotate(
        self,
        tenant_id: str,
        key_id: str,
        *,
        at: int,
        grace_seconds: int,
        beside: Callable[[Batch, ApiKey, ApiKey], None],
    ) -> CreatedKey:
        """Give the key's principal a new one; the old one goes on for the grace, unless it ends before.

        `beside` may append to the same batch; it gets the old key and the new one.

        Raises:
            NotFound: the tenant has no such key.
            UsageError: it was revoked or replaced, or has expired.
            Conflict: somebody replaced it just now.
        """
        row = await self._db.fetch_one(_FIND, {"tenant_id": tenant_id, "id": key_id})
        if row is None:
            raise NotFound(f"there is no API key {key_id!r}; `handrail keys list` shows them")
        old = ApiKey.of(row)
        if (why := _why_not_rotated(old, at)) is not None:
            raise UsageError(f"API key {key_id!r} {why}", param="key_id")
        new, text = old.successor(at=at)
        ends = at + grace_seconds * 1_000_000
        if old.expires_at is not None:
            ends = min(ends, old.expires_at)
        async with self._db.batch() as batch:
            named = {"of_tenant": tenant_id, "key": key_id, "new_key": new.id, "ends": ends}
            batch.add(_REPLACE, named, expect=1)
            self._add(batch, new)
            beside(batch, old, new)
        return CreatedKey(new, text)

    async def find(self, prefix: str) -> FoundKey | None:
        """The key whose text begins `hr_<prefix>_`, of whichever tenant."""
        row = await self._db.fetch_one(_BY_PREFIX, {"prefix": prefix})
        return FoundKey(ApiKey.of(row), row["now"]) if row is not None else None

    async def exist(self) -> bool:
        """Whether any key was ever made; a revoked one counts, so revoking the last does not open the door."""
        row = await self._db.fetch_one(_ANY, {})
        return row is not None and row["keys"] > 0

    async def touch(self, used: Mapping[tuple[str, str], int]) -> None:
        """Remember when keys were last used, by tenant and id: many in one write."""
        async with self._db.batch() as batch:
            for (tenant_id, key_id), at in used.items():
                batch.add(_TOUCH, {"of_tenant": tenant_id, "key": key_id, "at": at})

    def _add(self, batch: Batch, key: ApiKey) -> None:
        batch.add(
            _ADD,
            {
                "id": key.id,
                "tenant_id": key.tenant_id,
                "subject": key.subject,
                "role": key.role.value,
                "scopes": json.dumps(key.scopes),
                "teams": json.dumps(key.teams),
                "prefix": key.prefix,
                "hash": key.hash,
                "created_at": key.created_at,
                "expires_at": key.expires_at,
                "revoked_at": key.revoked_at,
                "last_used_at": key.last_used_at,
                "note": key.note,
                "replaced_by": key.replaced_by,
            },
        )


def _new_text() -> tuple[str, str]:
    """A fresh prefix, and the text of a key with it."""
    prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(8))
    return prefix, f"hr_{prefix}_{secrets.token_hex(32)}"


def _why_not_rotated(key: ApiKey, at: int) -> str | None:
    if key.revoked_at is not None:
        return f"was revoked on {iso(key.revoked_at)}; make a new one"
    if key.expires_at is not None and key.expires_at <= at:
        return f"expired on {iso(key.expires_at)}; make a new one"
    return None if key.replaced_by is None else f"was replaced by {key.replaced_by!r}; rotate that one"


def hash_of(text: str) -> str:
    # A fast hash is right here: the secret is 256 random bits, so there is nothing to guess that slowness would save.
    return hashlib.sha256(text.encode()).hexdigest()


def _iso(micros: int | None) -> str | None:
    return None if micros is None else iso(micros)
