"""Sessions and links on both databases: what a cookie is worth, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.clock import FrozenClock
from handrail.core.errors import UsageError
from handrail.core.principal import Principal, Role
from handrail.db import Conflict, Database, Prepared
from handrail.protection.auth import KeyStore, Session, SessionLimits, SessionStore, SignInLinks
from handrail.protection.auth.sessions import why_over
from handrail.protection.auth.tables import console_session, sign_in_link

LIMITS = SessionLimits(idle_seconds=600, most_seconds=3600)
OLGA = Principal("acme", "olga", frozenset({Role.OPERATOR}), frozenset({"jobs:read"}), "key_1", frozenset({"night"}))


@pytest.fixture
def sessions(db: Database) -> SessionStore:
    return SessionStore(db, LIMITS)


async def begin(db: Database, sessions: SessionStore, clock: FrozenClock, who: Principal = OLGA) -> tuple[Session, str]:
    async with db.batch() as batch:
        return sessions.begin(batch, who, at=clock.micros())


class TestSession:
    async def test_is_its_person_with_all_that_they_may(self, db: Database, sessions: SessionStore, clock: FrozenClock):
        session, cookie = await begin(db, sessions, clock)
        assert await sessions.find(cookie) == session
        assert session.principal == OLGA

    async def test_leaves_nothing_in_the_database_that_lets_anybody_in(
        self, db: Database, sessions: SessionStore, clock: FrozenClock
    ):
        session, cookie = await begin(db, sessions, clock)
        (row,) = await db.fetch_all(Prepared(console_session.select()), {})
        assert cookie not in str(dict(row))
        assert await sessions.find(session.hash) is None

    @pytest.mark.parametrize("text", ["", "x", "x" * 43, "x" * 100_000, "' OR 1=1 --", "\0", "ä" * 43])
    async def test_is_nobody_s_by_another_text(
        self, db: Database, sessions: SessionStore, clock: FrozenClock, text: str
    ):
        await begin(db, sessions, clock)
        assert await sessions.find(text) is None

    async def test_lasts_while_it_is_used_but_not_for_ever(
        self, db: Database, sessions: SessionStore, clock: FrozenClock
    ):
        _, cookie = await begin(db, sessions, clock)
        for _ in range(6):
            clock.advance(590)
            assert await sessions.find(cookie) is not None
        clock.advance(60)
        assert await sessions.find(cookie) is None

    async def test_is_over_when_nobody_used_it(self, db: Database, sessions: SessionStore, clock: FrozenClock):
        _, cookie = await begin(db, sessions, clock)
        clock.advance(600)
        assert await sessions.find(cookie) is None
        assert await sessions.list("acme") == []

    async def test_ends_at_once_and_everywhere(self, db: Database, sessions: SessionStore, clock: FrozenClock):
        session, cookie = await begin(db, sessions, clock)
        _, other = await begin(db, sessions, clock)
        async with db.batch() as batch:
            sessions.end(batch, session)
        replica = SessionStore(db, LIMITS)
        assert await replica.find(cookie) is None
        assert await replica.find(other) is not None

    async def test_of_another_tenant_is_not_ended_by_its_id(
        self, db: Database, sessions: SessionStore, clock: FrozenClock
    ):
        session, cookie = await begin(db, sessions, clock)
        other, _ = await begin(db, sessions, clock, Principal("evil", "eve", frozenset({Role.ADMIN}), key_id="key_2"))
        forged = Session.of({**_as_row(other), "id": session.id})
        async with db.batch() as batch:
            sessions.end(batch, forged)
        assert await sessions.find(cookie) is not None
        assert [each.id for each in await sessions.list("evil")] == [other.id]

    async def test_ends_with_its_key(self, db: Database, sessions: SessionStore, clock: FrozenClock):
        keys = KeyStore(db)
        made = await keys.create(
            tenant_id="acme",
            subject="olga",
            role=Role.OPERATOR,
            at=clock.micros(),
            expires_at=clock.micros() + 60_000_000,
        )
        _, cookie = await begin(db, sessions, clock, made.key.principal)
        assert await sessions.find(cookie) is not None
        clock.advance(60)
        assert await sessions.find(cookie) is None
        made = await keys.create(tenant_id="acme", subject="olga", role=Role.OPERATOR, at=clock.micros())
        _, cookie = await begin(db, sessions, clock, made.key.principal)
        assert await sessions.find(cookie) is not None
        await keys.revoke("acme", made.key.id, at=clock.micros())
        assert await sessions.find(cookie) is None
        assert await sessions.list("acme") == []

    async def test_that_is_over_is_removed_by_the_next_sign_in(
        self, db: Database, sessions: SessionStore, clock: FrozenClock
    ):
        await begin(db, sessions, clock)
        clock.advance(3600)
        session, _ = await begin(db, sessions, clock)
        rows = await db.fetch_all(Prepared(console_session.select()), {})
        assert [row["id"] for row in rows] == [session.id]


def _as_row(session: Session) -> dict[str, object]:
    lists = {"roles": "[]", "scopes": "[]", "teams": "[]"}
    names = ("id", "tenant_id", "subject", "key_id", "hash", "created_at", "seen_at", "expires_at")
    return {name: getattr(session, name) for name in names} | lists


times = st.integers(0, 10_000_000_000)


@given(now=times, seen=times, ends=times, revoked=st.none() | times, key_ends=st.none() | times)
def test_a_session_is_good_only_inside_every_bound(
    now: int, seen: int, ends: int, revoked: int | None, key_ends: int | None
):
    row = {"now": now, "seen_at": seen, "expires_at": ends, "key_revoked_at": revoked, "key_expires_at": key_ends}
    is_good = now < ends and now - seen < 600_000_000 and revoked is None and (key_ends is None or now < key_ends)
    assert (why_over(row, LIMITS) is None) is is_good


class TestLink:
    async def test_works_once(self, db: Database, clock: FrozenClock):
        links = SignInLinks(db)
        async with db.batch() as batch:
            made = links.add(batch, OLGA, at=clock.micros())
        found = await links.find(made.text)
        assert found is not None
        assert (found.principal.subject, found.principal.roles) == ("olga", OLGA.roles)
        assert not await links.was_used()
        async with db.batch() as batch:
            links.use(batch, found, at=clock.micros())
        assert await links.was_used()
        assert await links.find(made.text) is None
        with pytest.raises(Conflict):
            async with db.batch() as batch:
                links.use(batch, found, at=clock.micros())

    async def test_is_over_after_ten_minutes_and_removed_by_the_next_one(self, db: Database, clock: FrozenClock):
        links = SignInLinks(db)
        async with db.batch() as batch:
            made = links.add(batch, OLGA, at=clock.micros())
        clock.advance(599)
        assert await links.find(made.text) is not None
        clock.advance(1)
        assert await links.find(made.text) is None
        async with db.batch() as batch:
            newer = links.add(batch, OLGA, at=clock.micros())
        (row,) = await db.fetch_all(Prepared(sign_in_link.select()), {})
        assert row["id"] == newer.link.id
        assert newer.text not in str(dict(row))
        assert newer.text not in repr(newer)

    @pytest.mark.parametrize(
        "whom",
        [
            Principal("acme", "ann", frozenset({Role.END_USER})),
            Principal("acme", "ann", frozenset({Role.END_USER, Role.ADMIN})),
            Principal("acme", "ann", frozenset()),
            Principal("default", "local-operator", frozenset({Role.ADMIN})),
        ],
    )
    async def test_is_for_staff_and_never_for_the_server_s_own_operator(
        self, db: Database, clock: FrozenClock, whom: Principal
    ):
        with pytest.raises(UsageError):
            async with db.batch() as batch:
                SignInLinks(db).add(batch, whom, at=clock.micros())
