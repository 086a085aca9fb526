"""One-time links: how the first operator gets into the console, and whoever has no key at hand."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, literal_column, select, update

from handrail.core import json
from handrail.core.clock import iso
from handrail.core.errors import UsageError
from handrail.core.ids import new_id
from handrail.core.principal import Principal, Role
from handrail.db import Batch, Database, Prepared, Row, now
from handrail.protection.auth.claims import RESERVED
from handrail.protection.auth.sessions import COOKIE, MICROS, hash_of, new_secret
from handrail.protection.auth.tables import sign_in_link

LASTS_SECONDS = 600

_l = sign_in_link
_ADD = Prepared(insert(_l))
_BY_HASH = Prepared(select(_l, now().label("now")).where(_l.c.hash == bindparam("hash")))
_USE = Prepared(
    update(_l)
    .where(_l.c.tenant_id == bindparam("of_tenant"), _l.c.id == bindparam("link"), _l.c.used_at.is_(None))
    .values(used_at=bindparam("at"))
)
_REMOVE_UNUSED = Prepared(delete(_l).where(_l.c.expires_at <= bindparam("at"), _l.c.used_at.is_(None)))
_THEIRS = (
    _l.c.tenant_id == bindparam("of_tenant"),
    _l.c.subject == bindparam("of_subject"),
    _l.c.created_at <= bindparam("until"),
)
_REMOVE_THEIRS = Prepared(delete(_l).where(*_THEIRS, _l.c.used_at.is_(None)))
_BLANK_THEIRS = Prepared(update(_l).where(*_THEIRS).values(subject=literal_column("''"), hash=_l.c.id))
_USED = Prepared(
    select(func.count().label("links")).select_from(
        select(_l.c.id).where(_l.c.used_at.is_not(None)).limit(1).subquery()
    )
)


@dataclass(frozen=True, slots=True)
class SignInLink:
    """Who will be signed in by it, and until when."""

    id: str
    tenant_id: str
    subject: str
    roles: frozenset[Role]
    hash: str
    created_at: int
    expires_at: int

    @classmethod
    def of(cls, row: Row) -> "SignInLink":
        return cls(
            id=row["id"],
            tenant_id=row["tenant_id"],
            subject=row["subject"],
            roles=frozenset(Role(each) for each in json.loads(row["roles"])),
            hash=row["hash"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
        )

    @property
    def principal(self) -> Principal:
        """`key_id` says that they came by a link; it also keeps them apart from every principal of our own."""
        return Principal(self.tenant_id, self.subject, self.roles, key_id=self.id)


@dataclass(frozen=True, slots=True)
class CreatedLink:
    """A new link and its secret, which is shown now and never again."""

    link: SignInLink
    text: str

    def __repr__(self) -> str:
        return f"CreatedLink(id={self.link.id!r})"

    def body(self) -> dict[str, Any]:
        return {
            "id": self.link.id,
            "object": "sign_in_link",
            "tenant_id": self.link.tenant_id,
            "subject": self.link.subject,
            "roles": sorted(role.value for role in self.link.roles),
            "path": f"/console/sign-in?link={self.text}",
            "expires_at": iso(self.link.expires_at),
        }


class SignInLinks:
    """The table of links."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, batch: Batch, principal: Principal, *, at: int) -> CreatedLink:
        """Make a link for somebody of the staff.

        Raises:
            UsageError: an end user has nothing to do in the console, or the name is the server's own.
        """
        if not principal.roles or Role.END_USER in principal.roles:
            raise UsageError("a link is for staff; name a role such as 'operator'", param="roles")
        if principal.subject in RESERVED:
            raise UsageError(f"{principal.subject!r} is reserved for the server's own machine", param="subject")
        text = new_secret()
        link = SignInLink(
            id=new_id("link"),
            tenant_id=principal.tenant_id,
            subject=principal.subject,
            roles=principal.roles,
            hash=hash_of(text),
            created_at=at,
            expires_at=at + LASTS_SECONDS * MICROS,
        )
        batch.add(_REMOVE_UNUSED, {"at": at})
        batch.add(_ADD, _row(link))
        return CreatedLink(link, text)

    async def find(self, text: str) -> SignInLink | None:
        """The link of this secret, while it is good."""
        if not COOKIE.fullmatch(text):
            return None
        row = await self._db.fetch_one(_BY_HASH, {"hash": hash_of(text)})
        if row is None or row["used_at"] is not None or row["now"] >= row["expires_at"]:
            return None
        return SignInLink.of(row)

    def use(self, batch: Batch, link: SignInLink, *, at: int) -> None:
        """Use it up; `Conflict` for the second of two who use it at once."""
        batch.add(_USE, {"of_tenant": link.tenant_id, "link": link.id, "at": at}, expect=1)

    async def was_used(self) -> bool:
        """Whether anybody ever came in by one."""
        row = await self._db.fetch_one(_USED, {})
        return row is not None and row["links"] > 0

    def forget(self, batch: Batch, tenant_id: str, subject: str, *, until: int) -> None:
        """Remove a principal's links; of one that was used it stays known that somebody came in by it."""
        theirs = {"of_tenant": tenant_id, "of_subject": subject, "until": until}
        batch.add(_REMOVE_THEIRS, theirs)
        batch.add(_BLANK_THEIRS, theirs)


def _row(link: SignInLink) -> dict[str, Any]:
    return {
        "id": link.id,
        "tenant_id": link.tenant_id,
        "subject": link.subject,
        "roles": json.dumps(sorted(role.value for role in link.roles)),
        "hash": link.hash,
        "created_at": link.created_at,
        "expires_at": link.expires_at,
        "used_at": None,
    }
