import re

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.errors import NotFound, UsageError
from handrail.core.principal import Role
from handrail.db import Database, Prepared
from handrail.protection.auth import CreatedKey, KeyStore
from handrail.protection.auth.tables import api_key


@pytest.fixture
def keys(db: Database) -> KeyStore:
    return KeyStore(db)


async def _create(keys: KeyStore, clock: FrozenClock, tenant_id: str = "acme", subject: str = "ann") -> CreatedKey:
    return await keys.create(
        tenant_id=tenant_id,
        subject=subject,
        role=Role.END_USER,
        at=clock.micros(),
        scopes=["turns:write"],
        note="for tests",
    )


class TestCreate:
    async def test_gives_the_text_once_and_stores_what_is_needed_to_recognise_it(
        self, keys: KeyStore, clock: FrozenClock
    ) -> None:
        created = await _create(keys, clock)

        found = await keys.find(created.key.prefix)

        assert found is not None
        assert found.key == created.key
        assert found.key.matches(created.text)
        assert found.now == clock.micros()
        assert re.fullmatch(r"hr_[0-9a-z]{8}_[0-9a-f]{64}", created.text)

    async def test_leaves_no_part_of_the_secret_in_the_database(
        self, keys: KeyStore, db: Database, clock: FrozenClock
    ) -> None:
        created = await _create(keys, clock)

        rows = await db.fetch_all(Prepared(api_key.select()), {})

        assert created.text[12:28] not in repr([dict(row) for row in rows])

    async def test_makes_a_secret_of_its_own_each_time(self, keys: KeyStore, clock: FrozenClock) -> None:
        texts = {(await _create(keys, clock)).text for _ in range(20)}

        assert len({text.split("_")[1] for text in texts}) == len({text.split("_")[2] for text in texts}) == 20

    async def test_puts_staff_into_teams_and_an_end_user_into_none(self, keys: KeyStore, clock: FrozenClock) -> None:
        made = {"tenant_id": "acme", "subject": "ann", "at": clock.micros(), "teams": ["fraud", "fraud"]}
        created = await keys.create(role=Role.VIEWER, **made)

        found = await keys.find(created.key.prefix)

        assert found is not None
        assert found.key.principal.teams == {"fraud"}
        with pytest.raises(UsageError, match="end user"):
            await keys.create(role=Role.END_USER, **made)

    async def test_keeps_the_text_out_of_representations(self, keys: KeyStore, clock: FrozenClock) -> None:
        created = await _create(keys, clock)

        assert created.text.split("_")[2] not in repr(created)


class TestBody:
    async def test_shows_who_and_when_but_neither_hash_nor_text(self, keys: KeyStore, clock: FrozenClock) -> None:
        created = await _create(keys, clock)

        body = created.key.body()

        assert body == {
            "id": created.key.id,
            "object": "api_key",
            "tenant_id": "acme",
            "subject": "ann",
            "role": "end_user",
            "scopes": ["turns:write"],
            "teams": [],
            "prefix": created.key.prefix,
            "note": "for tests",
            "created_at": "2026-01-01T00:00:00.000Z",
            "expires_at": None,
            "revoked_at": None,
            "last_used_at": None,
            "replaced_by": None,
        }
        assert created.body() == {**body, "key": created.text}


class TestMatches:
    async def test_takes_the_whole_key_and_nothing_less(self, keys: KeyStore, clock: FrozenClock) -> None:
        one, other = await _create(keys, clock), await _create(keys, clock)
        swapped = f"hr_{one.key.prefix}_{other.text.split('_')[2]}"

        assert one.key.matches(one.text)
        for wrong in (other.text, swapped, one.text[:-1], one.text + "0", one.text.upper(), ""):
            assert not one.key.matches(wrong)


class TestList:
    async def test_shows_the_tenants_keys_newest_first_and_no_others(self, keys: KeyStore, clock: FrozenClock) -> None:
        first, second = await _create(keys, clock), await _create(keys, clock, subject="bob")
        await _create(keys, clock, tenant_id="other")

        assert list(await keys.list("acme")) == [second.key, first.key]


class TestRevoke:
    async def test_marks_the_key_and_a_second_time_changes_nothing(self, keys: KeyStore, clock: FrozenClock) -> None:
        created = await _create(keys, clock)

        revoked = await keys.revoke("acme", created.key.id, at=clock.micros())
        clock.advance(60)
        again = await keys.revoke("acme", created.key.id, at=clock.micros())

        assert revoked.revoked_at == clock.micros() - 60_000_000
        assert again == revoked

    async def test_can_not_reach_into_another_tenant(self, keys: KeyStore, clock: FrozenClock) -> None:
        created = await _create(keys, clock)

        with pytest.raises(NotFound, match=created.key.id):
            await keys.revoke("other", created.key.id, at=clock.micros())

        found = await keys.find(created.key.prefix)
        assert found is not None
        assert found.key.revoked_at is None


class TestExist:
    async def test_is_true_from_the_first_key_on_even_when_it_is_revoked(
        self, keys: KeyStore, clock: FrozenClock
    ) -> None:
        before = await keys.exist()
        created = await _create(keys, clock)
        await keys.revoke("acme", created.key.id, at=clock.micros())

        assert (before, await keys.exist()) == (False, True)
