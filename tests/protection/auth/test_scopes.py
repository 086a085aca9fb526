"""Scopes narrow, and nobody hands out more than they have."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.clock import FrozenClock
from handrail.core.errors import NotFound, UsageError
from handrail.core.principal import Principal, Role
from handrail.db import Database
from handrail.protection.auth import ApiKey, CreatedKey, KeyStore, PermissionDenied, Scope
from handrail.protection.auth.scopes import require_known, require_narrower, require_scope

DAY = 86_400
scopes = st.frozensets(st.sampled_from(sorted(Scope)))


def having(*has: str) -> Principal:
    return Principal("acme", "adam", frozenset({Role.ADMIN}), frozenset(has))


@given(has=scopes, needed=scopes)
def test_a_principal_without_scopes_is_not_narrowed_and_one_with_them_needs_each(
    has: frozenset[Scope], needed: frozenset[Scope]
):
    if not has or needed <= has:
        require_scope(having(*has), *needed)
    else:
        with pytest.raises(PermissionDenied):
            require_scope(having(*has), *needed)


@given(has=scopes, wanted=scopes)
def test_what_is_handed_out_is_never_more_than_what_its_maker_has(has: frozenset[Scope], wanted: frozenset[Scope]):
    may = {each for each in Scope if not has or each in has}
    would = {each for each in Scope if not wanted or each in wanted}
    try:
        require_narrower(having(*has), wanted)
    except PermissionDenied:
        assert has
        assert not wanted or not wanted <= has
    else:
        assert would <= may


def test_scopes_of_somebody_else_s_making_are_none_of_ours():
    with pytest.raises(PermissionDenied, match="turns:write"):
        require_scope(having("openid", "profile"), Scope.TURNS_WRITE)


@pytest.mark.parametrize("scope", ["turns", "turns:*", "*", "TURNS:WRITE", "turns:write ", ""])
def test_a_misspelt_scope_is_told(scope: str):
    with pytest.raises(UsageError, match="there is no scope"):
        require_known(["jobs:read", scope])


@pytest.fixture
def keys(db: Database) -> KeyStore:
    return KeyStore(db)


async def made(keys: KeyStore, clock: FrozenClock, days: int | None = None) -> CreatedKey:
    ends = None if days is None else clock.micros() + days * DAY * 1_000_000
    return await keys.create(
        tenant_id="acme",
        subject="ann",
        role=Role.APPROVER,
        at=clock.micros(),
        scopes=["approvals:read"],
        expires_at=ends,
        note="hers",
        teams=["fraud"],
    )


async def rotated(keys: KeyStore, clock: FrozenClock, key: ApiKey, *, grace_seconds: int = DAY) -> CreatedKey:
    def beside(*_: object) -> None:
        pass

    return await keys.rotate(key.tenant_id, key.id, at=clock.micros(), grace_seconds=grace_seconds, beside=beside)


class TestRotate:
    async def test_gives_the_same_principal_another_key(self, keys: KeyStore, clock: FrozenClock):
        old = await made(keys, clock, days=30)
        clock.advance(20 * DAY)
        new = await rotated(keys, clock, old.key)
        assert new.text != old.text
        for name in ("tenant_id", "subject", "role", "scopes", "teams", "note"):
            assert getattr(new.key, name) == getattr(old.key, name)
        assert new.key.expires_at == clock.micros() + 30 * DAY * 1_000_000
        found = await keys.find(new.key.prefix)
        assert found is not None
        assert found.key == new.key
        assert found.key.matches(new.text)
        assert not found.key.matches(old.text)

    async def test_lets_the_old_key_go_on_for_the_grace_and_no_longer_than_it_had(
        self, keys: KeyStore, clock: FrozenClock
    ):
        for days, ends_in in ((None, DAY), (1 / 24, 3600), (30, DAY)):
            old = await made(keys, clock, days=None)
            if days is not None:
                ends = clock.micros() + int(days * DAY) * 1_000_000
                old = await keys.create(
                    tenant_id="acme", subject="x", role=Role.VIEWER, at=clock.micros(), expires_at=ends
                )
            new = await rotated(keys, clock, old.key)
            found = await keys.find(old.key.prefix)
            assert found is not None
            assert found.key.expires_at == clock.micros() + ends_in * 1_000_000
            assert found.key.replaced_by == new.key.id

    async def test_is_done_once(self, keys: KeyStore, clock: FrozenClock):
        old = await made(keys, clock)
        new = await rotated(keys, clock, old.key)
        with pytest.raises(UsageError, match=f"was replaced by '{new.key.id}'"):
            await rotated(keys, clock, old.key)
        assert len(await keys.list("acme")) == 2

    async def test_refuses_what_has_ended_and_what_is_another_tenant_s(self, keys: KeyStore, clock: FrozenClock):
        gone, over = await made(keys, clock), await made(keys, clock, days=1)
        await keys.revoke("acme", gone.key.id, at=clock.micros())
        clock.advance(DAY)
        for key, why in ((gone.key, "was revoked"), (over.key, "expired")):
            with pytest.raises(UsageError, match=why):
                await rotated(keys, clock, key)
        with pytest.raises(NotFound):
            await keys.rotate("evil", over.key.id, at=1, grace_seconds=0, beside=lambda *_: None)

    async def test_of_two_at_once_one_wins(self, keys: KeyStore, clock: FrozenClock):
        old = await made(keys, clock)
        both = await asyncio.gather(*(rotated(keys, clock, old.key) for _ in range(2)), return_exceptions=True)
        assert sorted(type(each).__name__ for each in both) in (
            ["Conflict", "CreatedKey"],
            ["CreatedKey", "UsageError"],
        )
        assert len(await keys.list("acme")) == 2

    async def test_what_is_refused_beside_it_changes_nothing(self, keys: KeyStore, clock: FrozenClock):
        old = await made(keys, clock)

        def refuse(*_: object) -> None:
            raise PermissionDenied("no")

        with pytest.raises(PermissionDenied):
            await keys.rotate("acme", old.key.id, at=clock.micros(), grace_seconds=0, beside=refuse)
        assert await keys.list("acme") == [old.key]
