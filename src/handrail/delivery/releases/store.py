"""SQL for releases. Methods that take a batch append to it; the flow commits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, exists, insert, literal, or_, select, update
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import Insert
from sqlalchemy.sql.schema import Table

from handrail.core.errors import HandrailError, NotFound
from handrail.db import Batch, Database, Prepared, Row, now, scoped
from handrail.delivery.releases import tables
from handrail.delivery.releases.git import NO_GIT, GitState
from handrail.delivery.releases.sources import Sources


class ReleaseCollision(HandrailError):
    """Another snapshot has the same id: sixteen hex digits agree and the rest do not."""

    code = "release_collision"


class ReleaseAltered(HandrailError):
    """What is stored is not what the release's digest says; it is not loaded."""

    code = "release_altered"


@dataclass(frozen=True, slots=True)
class Release:
    """The record of one snapshot. `author` is the subject who made it."""

    id: str
    agent: str
    digest: str
    format_version: int
    note: str | None
    author: str
    git_commit: str | None
    git_dirty: bool | None
    lock_hash: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class NewRelease:
    """What is recorded beside the sources when a release is made."""

    agent: str
    sources: Sources
    author: str
    note: str | None = None
    git: GitState = NO_GIT


@dataclass(frozen=True, slots=True)
class Artefact:
    """Something made from a release. `made_from` hashes what it was made from, `hash` is that of the content."""

    kind: str
    made_from: str
    content: bytes

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class AgentState:
    """Which release answers new conversations, and which did before it."""

    name: str
    stable_release_id: str | None
    previous_release_id: str | None
    updated_at: int


_r, _f, _a, _ra, _g = (
    tables.release,
    tables.release_file,
    tables.artefact,
    tables.release_artefact,
    tables.agent,
)


def _same(table: Table, *columns: str) -> ColumnElement[bool]:
    return and_(*(table.c[name] == bindparam(name) for name in columns))


def _insert_missing(table: Table, *key: str) -> Insert:
    """Insert unless a row with this key is there; portable, where each database has its own 'on conflict'."""
    values = {
        column.name: now() if column.name in ("created_at", "updated_at") else bindparam(column.name, type_=column.type)
        for column in table.c
    }
    there = exists(select(literal(1)).select_from(table).where(_same(table, *key)))
    return insert(table).from_select(list(values), select(*values.values()).where(~there))


_ADD = Prepared(insert(_r).values({**{c.name: bindparam(c.name) for c in _r.c}, "created_at": now()}))
_ADD_FILE = Prepared(insert(_f))
_FIND = Prepared(scoped(_r).where(_r.c.id == bindparam("id")))
_LIST = Prepared(
    scoped(_r)
    .where(or_(bindparam("agent") == "", _r.c.agent == bindparam("agent")))
    .order_by(_r.c.created_at.desc(), _r.c.id)
    .limit(bindparam("limit"))
)
_FILES = Prepared(scoped(_f, _f.c.path, _f.c.content).where(_f.c.release_id == bindparam("release_id")))
_ADD_ARTEFACT = Prepared(_insert_missing(_a, "tenant_id", "kind", "hash"))
_ATTACH = Prepared(_insert_missing(_ra, "tenant_id", "release_id", "kind", "hash"))
_ATTACHED = Prepared(
    select(_a.c.kind, _a.c.made_from, _a.c.hash, _a.c.content)
    .join(_ra, and_(_ra.c.tenant_id == _a.c.tenant_id, _ra.c.kind == _a.c.kind, _ra.c.hash == _a.c.hash))
    .where(_same(_ra, "tenant_id", "release_id", "kind"))
    .order_by(_ra.c.created_at.desc(), _ra.c.hash)
    .limit(1)
)
_MADE_FROM = Prepared(
    scoped(_a, _a.c.kind, _a.c.made_from, _a.c.hash, _a.c.content)
    .where(_a.c.kind == bindparam("kind"), _a.c.made_from == bindparam("made_from"))
    .order_by(_a.c.created_at, _a.c.hash)
    .limit(1)
)
_ADD_AGENT = Prepared(_insert_missing(_g, "tenant_id", "name"))
_USE = Prepared(
    update(_g)
    .where(
        _g.c.tenant_id == bindparam("tenant_id"),
        _g.c.name == bindparam("name_"),
        # Using the stable release again must not make it its own way back.
        or_(_g.c.stable_release_id.is_(None), _g.c.stable_release_id != bindparam("release_id")),
    )
    .values(previous_release_id=_g.c.stable_release_id, stable_release_id=bindparam("release_id"), updated_at=now())
)
_AGENT = Prepared(scoped(_g).where(_g.c.name == bindparam("name")))
_AGENTS = Prepared(scoped(_g).order_by(_g.c.name))


class ReleaseStore:
    """Snapshots and their artefacts of all tenants."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, tenant_id: str, new: NewRelease) -> None:
        """Store the record and every file. A release that is there already makes the batch a `Conflict`."""
        sources = new.sources
        values: dict[str, Any] = {
            "tenant_id": tenant_id,
            "id": sources.release_id,
            "agent": new.agent,
            "digest": sources.digest,
            "format_version": sources.format_version,
            "note": new.note,
            "author": new.author,
            "git_commit": new.git.commit,
            "git_dirty": None if new.git.dirty is None else int(new.git.dirty),
            "lock_hash": sources.lock_hash,
        }
        batch.add(_ADD, values)
        for path, content in sources.files.items():
            row = {"tenant_id": tenant_id, "release_id": sources.release_id, "path": path, "content": content}
            batch.add(_ADD_FILE, row)

    def attach(self, batch: Batch, tenant_id: str, release_id: str, artefact: Artefact) -> None:
        """Attach what was made from the release; the content is stored once, however many releases share it."""
        key = {"tenant_id": tenant_id, "kind": artefact.kind, "hash": artefact.hash}
        batch.add(_ADD_ARTEFACT, {**key, "made_from": artefact.made_from, "content": artefact.content})
        batch.add(_ATTACH, {**key, "release_id": release_id})

    def use(self, batch: Batch, tenant_id: str, agent: str, release_id: str) -> None:
        """Make the release the stable one; the one that was is kept as the previous."""
        row = {"tenant_id": tenant_id, "name": agent, "stable_release_id": None, "previous_release_id": None}
        batch.add(_ADD_AGENT, row)
        batch.add(_USE, {"tenant_id": tenant_id, "name_": agent, "release_id": release_id})

    async def find(self, tenant_id: str, release_id: str) -> Release | None:
        row = await self._db.fetch_one(_FIND, {"tenant_id": tenant_id, "id": release_id})
        return None if row is None else _release(row)

    async def get(self, tenant_id: str, release_id: str) -> Release:
        """Raises `NotFound` for a release of another tenant too."""
        found = await self.find(tenant_id, release_id)
        if found is None:
            raise NotFound(f"there is no release {release_id!r}; 'handrail release list' shows those there are")
        return found

    async def find_same(self, tenant_id: str, sources: Sources) -> Release | None:
        """The stored release of exactly these sources.

        Raises:
            ReleaseCollision: their id is taken by others.
        """
        found = await self.find(tenant_id, sources.release_id)
        if found is not None and found.digest != sources.digest:
            raise ReleaseCollision(
                f"release id {found.id!r} is taken by other sources (digest {found.digest!r}); "
                "change any file, a comment is enough, and try again"
            )
        return found

    async def list(self, tenant_id: str, agent: str | None = None, limit: int = 50) -> Sequence[Release]:
        """The newest first."""
        rows = await self._db.scan(_LIST, {"tenant_id": tenant_id, "agent": agent or "", "limit": limit})
        return [_release(row) for row in rows]

    async def sources(self, tenant_id: str, release: Release) -> Sources:
        """The snapshot.

        Raises:
            ReleaseAltered: it is not what was stored under this digest.
        """
        rows = await self._db.scan(_FILES, {"tenant_id": tenant_id, "release_id": release.id})
        files = {row["path"]: bytes(row["content"]) for row in sorted(rows, key=lambda row: str(row["path"]))}
        sources = Sources(files, release.format_version)
        if sources.digest != release.digest:
            raise ReleaseAltered(
                f"the files of release {release.id!r} have digest {sources.digest!r}, not {release.digest!r}; "
                "restore the database or make the release again"
            )
        return sources

    async def attached(self, tenant_id: str, release_id: str, kind: str) -> Artefact | None:
        """The newest artefact of that kind."""
        key = {"tenant_id": tenant_id, "release_id": release_id, "kind": kind}
        return _artefact(await self._db.fetch_one(_ATTACHED, key))

    async def made_from(self, tenant_id: str, kind: str, made_from: str) -> Artefact | None:
        """An artefact that was made from the same things before, for whichever release."""
        key = {"tenant_id": tenant_id, "kind": kind, "made_from": made_from}
        return _artefact(await self._db.fetch_one(_MADE_FROM, key))

    async def agent(self, tenant_id: str, name: str) -> AgentState | None:
        row = await self._db.fetch_one(_AGENT, {"tenant_id": tenant_id, "name": name})
        return None if row is None else _agent(row)

    async def agents(self, tenant_id: str) -> Sequence[AgentState]:
        return [_agent(row) for row in await self._db.fetch_all(_AGENTS, {"tenant_id": tenant_id})]


def _release(row: Row) -> Release:
    return Release(
        id=row["id"],
        agent=row["agent"],
        digest=row["digest"],
        format_version=row["format_version"],
        note=row["note"],
        author=row["author"],
        git_commit=row["git_commit"],
        git_dirty=None if row["git_dirty"] is None else bool(row["git_dirty"]),
        lock_hash=row["lock_hash"],
        created_at=row["created_at"],
    )


def _artefact(row: Row | None) -> Artefact | None:
    if row is None:
        return None
    artefact = Artefact(row["kind"], row["made_from"], bytes(row["content"]))
    if artefact.hash != row["hash"]:
        raise ReleaseAltered(
            f"an artefact of kind {artefact.kind!r} has hash {artefact.hash!r}, not {row['hash']!r}; "
            "restore the database or make the release again"
        )
    return artefact


def _agent(row: Row) -> AgentState:
    return AgentState(row["name"], row["stable_release_id"], row["previous_release_id"], row["updated_at"])
