from collections.abc import Mapping

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Principal, Role
from handrail.db import Database, StoreUnavailable
from handrail.protection.auth import ApiKey, Authenticator, CreatedKey, KeyStore, Unauthenticated
from handrail.protection.auth.authenticator import MOST_CACHED
from handrail.protection.auth.keys import FoundKey

TOKEN = "hrop_" + "ab" * 32

SCOPES = ["jobs:read", "jobs:write"]


class CountingKeys(KeyStore):
    """The real store, counting its reads."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.reads = 0

    async def find(self, prefix: str) -> FoundKey | None:
        self.reads += 1
        return await super().find(prefix)


@pytest.fixture
def keys(db: Database) -> CountingKeys:
    return CountingKeys(db)


@pytest.fixture
def authenticator(keys: CountingKeys, clock: FrozenClock) -> Authenticator:
    return Authenticator(keys, clock, TOKEN)


async def _create(keys: KeyStore, clock: FrozenClock, *, expires_in: float | None = None) -> CreatedKey:
    expires_at = None if expires_in is None else clock.micros() + int(expires_in * 1_000_000)
    return await keys.create(
        tenant_id="acme",
        subject="ann",
        role=Role.VIEWER,
        scopes=SCOPES,
        at=clock.micros(),
        expires_at=expires_at,
    )


class TestWithoutKeys:
    async def test_a_caller_on_this_machine_is_the_demo_customer(self, authenticator: Authenticator) -> None:
        assert await authenticator.authenticate(None, loopback=True) == Principal(
            "default", "demo-customer", frozenset({Role.END_USER})
        )

    async def test_console_and_cli_are_the_demo_operator(self, authenticator: Authenticator) -> None:
        principal = await authenticator.authenticate(None, loopback=True, surface="console")

        assert principal == Principal("default", "demo-operator", frozenset({Role.APPROVER, Role.OPERATOR}))

    @pytest.mark.parametrize("header", ["Bearer sk-anything", "Basic YTpi", "Bearer ", "nonsense", ""])
    async def test_a_placeholder_for_another_service_changes_nothing(
        self, authenticator: Authenticator, header: str
    ) -> None:
        assert (await authenticator.authenticate(header, loopback=True)).subject == "demo-customer"

    async def test_nobody_from_elsewhere_is_served(self, authenticator: Authenticator) -> None:
        with pytest.raises(Unauthenticated, match="handrail keys create"):
            await authenticator.authenticate(None, loopback=False)

    async def test_a_key_of_ours_that_is_not_known_is_refused_rather_than_ignored(
        self, authenticator: Authenticator
    ) -> None:
        with pytest.raises(Unauthenticated, match="not known"):
            await authenticator.authenticate(f"Bearer hr_abcdefgh_{'0' * 64}", loopback=True)

    async def test_has_keys_is_false_only_after_a_look(self, authenticator: Authenticator) -> None:
        before = authenticator.has_keys
        await authenticator.start()

        assert (before, authenticator.has_keys) == (True, False)

    async def test_the_first_key_closes_the_door_within_five_seconds(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        await authenticator.authenticate(None, loopback=True)
        await _create(keys, clock)
        clock.advance(5)

        with pytest.raises(Unauthenticated, match="send an API key"):
            await authenticator.authenticate(None, loopback=True)
        assert authenticator.has_keys

    async def test_a_key_made_in_this_process_closes_it_at_once(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        await authenticator.authenticate(None, loopback=True)
        await _create(keys, clock)
        authenticator.forget()

        assert authenticator.has_keys
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(None, loopback=True)


class TestWithKeys:
    async def test_a_key_is_the_principal_it_was_made_for(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        created = await _create(keys, clock)

        principal = await authenticator.authenticate(f"bearer {created.text}", loopback=False)

        assert principal == Principal("acme", "ann", frozenset({Role.VIEWER}), frozenset(SCOPES), created.key.id)

    @pytest.mark.parametrize("surface", ["api", "console"])
    async def test_no_header_is_nobody(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock, surface: str
    ) -> None:
        await _create(keys, clock)

        with pytest.raises(Unauthenticated, match="send an API key"):
            await authenticator.authenticate(None, loopback=True, surface=surface)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
            lambda text: text[:-1],
            lambda text: text + "0",
            lambda text: text.upper().replace("HR_", "hr_"),
            lambda text: "hr_00000000_" + text[12:],
            lambda text: "sk-" + text,
            lambda _: "hr_é_" + "0" * 64,
        ],
        ids=["last-digit", "shorter", "longer", "upper-case", "other-prefix", "other-service", "not-ascii"],
    )
    async def test_anything_but_the_very_key_is_refused(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock, change
    ) -> None:
        created = await _create(keys, clock)

        with pytest.raises(Unauthenticated) as refused:
            await authenticator.authenticate(f"Bearer {change(created.text)}", loopback=True)

        assert created.text.split("_")[2][:20] not in refused.value.message

    async def test_an_expired_key_is_refused_to_the_microsecond_even_when_it_is_remembered(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        created = await _create(keys, clock, expires_in=2)
        header = f"Bearer {created.text}"
        await authenticator.authenticate(header, loopback=False)
        clock.advance(1.5)
        await authenticator.authenticate(header, loopback=False)
        clock.advance(0.5)

        with pytest.raises(Unauthenticated, match="expired on 2026-01-01T00:00:02"):
            await authenticator.authenticate(header, loopback=False)

    async def test_a_revocation_made_elsewhere_works_within_five_seconds(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        created = await _create(keys, clock)
        header = f"Bearer {created.text}"
        await authenticator.authenticate(header, loopback=False)
        await keys.revoke("acme", created.key.id, at=clock.micros())
        clock.advance(5)

        with pytest.raises(Unauthenticated, match="was revoked"):
            await authenticator.authenticate(header, loopback=False)

    async def test_a_revocation_made_here_works_at_once(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        created = await _create(keys, clock)
        header = f"Bearer {created.text}"
        await authenticator.authenticate(header, loopback=False)
        await keys.revoke("acme", created.key.id, at=clock.micros())
        authenticator.forget()

        with pytest.raises(Unauthenticated, match="was revoked"):
            await authenticator.authenticate(header, loopback=False)

    async def test_revoking_the_last_key_does_not_bring_the_demo_back(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        created = await _create(keys, clock)
        await keys.revoke("acme", created.key.id, at=clock.micros())

        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(None, loopback=True)


class TestMemory:
    async def test_a_recognised_key_is_read_once_in_five_seconds(
        self, authenticator: Authenticator, keys: CountingKeys, clock: FrozenClock
    ) -> None:
        header = f"Bearer {(await _create(keys, clock)).text}"
        for _ in range(5):
            await authenticator.authenticate(header, loopback=False)
        within = keys.reads
        clock.advance(5)
        await authenticator.authenticate(header, loopback=False)

        assert (within, keys.reads) == (1, 2)

    async def test_what_was_refused_is_not_remembered(self, authenticator: Authenticator, keys: CountingKeys) -> None:
        for n in range(50):
            with pytest.raises(Unauthenticated):
                await authenticator.authenticate(f"Bearer hr_abcdefgh_{n:064x}", loopback=False)

        assert authenticator._recognised == {}

    async def test_a_key_that_has_not_the_form_of_one_costs_no_read(
        self, authenticator: Authenticator, keys: CountingKeys
    ) -> None:
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate("Bearer hr_short", loopback=False)

        assert keys.reads == 0

    async def test_holds_a_bounded_number_of_keys(self, clock: FrozenClock) -> None:
        authenticator = Authenticator(AnyKey(), clock)
        for n in range(MOST_CACHED + 10):
            await authenticator.authenticate(f"Bearer hr_abcdefgh_{n:064x}", loopback=False)

        assert len(authenticator._recognised) == MOST_CACHED


class AnyKey(KeyStore):
    """Knows every key."""

    def __init__(self) -> None:
        pass

    async def find(self, prefix: str) -> FoundKey | None:
        return FoundKey(_Anything("key_1", "t", "s", Role.END_USER, (), prefix, "", 0, last_used_at=0), 0)


class _Anything(ApiKey):
    __slots__ = ()

    def matches(self, text: str) -> bool:
        return True


class TestLastUse:
    async def test_is_stored_apart_from_the_requests_and_for_all_keys_at_once(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        first, second = await _create(keys, clock), await _create(keys, clock)
        for each in (first, second, first):
            await authenticator.authenticate(f"Bearer {each.text}", loopback=False)
        assert [each.last_used_at for each in await keys.list("acme")] == [None, None]

        await authenticator.store_used()

        assert [each.last_used_at for each in await keys.list("acme")] == [clock.micros(), clock.micros()]

    async def test_is_exact_to_a_minute_or_so(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        created = await _create(keys, clock)
        used: list[int | None] = []
        for seconds in (0, 30, 31):
            clock.advance(seconds)
            await authenticator.authenticate(f"Bearer {created.text}", loopback=False)
            await authenticator.store_used()
            used.append((await keys.list("acme"))[0].last_used_at)
        assert used == [clock.micros() - 61_000_000, clock.micros() - 61_000_000, clock.micros()]

    async def test_that_can_not_be_stored_locks_nobody_out_and_is_tried_again(
        self, db: Database, clock: FrozenClock
    ) -> None:
        class FullDisk(KeyStore):
            is_full = True

            async def touch(self, used: Mapping[tuple[str, str], int]) -> None:
                if self.is_full:
                    raise StoreUnavailable("the disk is full")
                await super().touch(used)

        keys = FullDisk(db)
        created, authenticator = await _create(keys, clock), Authenticator(keys, clock)

        principal = await authenticator.authenticate(f"Bearer {created.text}", loopback=False)
        with pytest.raises(StoreUnavailable):
            await authenticator.store_used()
        keys.is_full = False
        await authenticator.close()

        assert principal.subject == "ann"
        assert (await keys.list("acme"))[0].last_used_at == clock.micros()

    async def test_a_store_that_is_down_refuses(self, db: Database, clock: FrozenClock) -> None:
        created = await _create(KeyStore(db), clock)
        authenticator = Authenticator(KeyStore(db), clock)
        await db.close()

        with pytest.raises(StoreUnavailable):
            await authenticator.authenticate(f"Bearer {created.text}", loopback=False)
        with pytest.raises(StoreUnavailable):
            await authenticator.authenticate(None, loopback=True)


class TestOperatorToken:
    async def test_is_the_local_operator_with_or_without_keys(
        self, authenticator: Authenticator, keys: KeyStore, clock: FrozenClock
    ) -> None:
        without = await authenticator.authenticate(f"Bearer {TOKEN}", loopback=True)
        await _create(keys, clock)

        assert await authenticator.authenticate(f"Bearer {TOKEN}", loopback=True) == without
        assert without == Principal("default", "local-operator", frozenset({Role.OPERATOR, Role.APPROVER, Role.ADMIN}))

    @pytest.mark.parametrize(
        ("text", "loopback"), [(TOKEN, False), ("hrop_" + "cd" * 32, True), (TOKEN[:-1], True), ("hrop_", True)]
    )
    async def test_is_refused_from_elsewhere_and_when_it_is_another(
        self, authenticator: Authenticator, text: str, loopback: bool
    ) -> None:
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(f"Bearer {text}", loopback=loopback)

    async def test_is_nothing_to_a_server_that_has_none(self, keys: KeyStore, clock: FrozenClock) -> None:
        with pytest.raises(Unauthenticated):
            await Authenticator(keys, clock).authenticate(f"Bearer {TOKEN}", loopback=True)
