"""A key management service wraps the data keys; what it fails to do is not written and not shown."""

from typing import Any

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.protection.encryption import (
    KeyStore,
    KeyUnavailable,
    KmsUnavailable,
    LocalAndService,
    LocalMasterKeys,
    MasterKeyProblem,
    MasterKeys,
    ServiceKeys,
    SubjectKeys,
    service_named,
)
from handrail.testing import FakeKms

LOCAL = LocalMasterKeys([b"m" * 32])
SECRET = b"s" * 32
PLACE = "message.content\0msg_1\0conv_1"


@pytest.fixture
def kms() -> FakeKms:
    return FakeKms()


@pytest.fixture
def keys(kms: FakeKms) -> ServiceKeys:
    return ServiceKeys(kms, seconds=0.2)


@pytest.fixture
async def store(sqlite_db: Database) -> KeyStore:
    store = KeyStore(sqlite_db)
    await store.prepare()
    return store


class TestServiceKeys:
    async def test_a_data_key_opens_at_its_place_and_nowhere_else(self, kms: FakeKms, keys: ServiceKeys) -> None:
        wrapped = await keys.wrap(SECRET, "place")
        assert wrapped.master_id == kms.current
        assert SECRET not in wrapped.data
        assert await keys.unwrap(*wrapped, "place") == SECRET
        with pytest.raises(KeyUnavailable):
            await keys.unwrap(*wrapped, "elsewhere")

    async def test_the_place_is_checked_even_if_the_service_leaves_it_aside(self) -> None:
        class Careless(FakeKms):
            async def wrap(self, key_id: str, secret: bytes, context: str) -> bytes:
                return await super().wrap(key_id, secret, "")

            async def unwrap(self, key_id: str, wrapped: bytes, context: str) -> bytes:
                return await super().unwrap(key_id, wrapped, "")

        keys = ServiceKeys(Careless())
        wrapped = await keys.wrap(SECRET, "place")
        assert await keys.unwrap(*wrapped, "place") == SECRET
        with pytest.raises(KeyUnavailable, match="another place"):
            await keys.unwrap(*wrapped, "elsewhere")

    async def test_an_older_key_of_the_service_still_unwraps(self, kms: FakeKms, keys: ServiceKeys) -> None:
        wrapped = await keys.wrap(SECRET, "place")
        kms.rotate()
        assert keys.current != wrapped.master_id
        assert await keys.unwrap(*wrapped, "place") == SECRET

    async def test_an_error_is_named_without_its_text(self, kms: FakeKms, keys: ServiceKeys) -> None:
        kms.fails = PermissionError("token AKIA1234 may not")
        with pytest.raises(KmsUnavailable, match=r"did not wrap .* \(PermissionError\)") as caught:
            await keys.wrap(SECRET, "place")
        assert caught.value.retryable
        assert "AKIA1234" not in caught.value.message

    async def test_no_answer_in_time_is_a_failure(self, kms: FakeKms, keys: ServiceKeys) -> None:
        wrapped = await keys.wrap(SECRET, "place")
        kms.hangs = True
        with pytest.raises(KmsUnavailable, match="TimeoutError"):
            await keys.unwrap(*wrapped, "place")

    @pytest.mark.parametrize(("answer", "says"), [("plain", "as it was"), (None, "NoneType instead of bytes")])
    async def test_a_service_that_does_not_encrypt_is_refused(self, answer: str | None, says: str) -> None:
        class Useless(FakeKms):
            async def wrap(self, key_id: str, secret: bytes, context: str) -> Any:
                return secret if answer else None

        with pytest.raises(MasterKeyProblem, match=says):
            await ServiceKeys(Useless()).probe()

    async def test_the_service_is_closed_with_the_keys(self, kms: FakeKms, keys: ServiceKeys) -> None:
        await LocalAndService(LOCAL, keys, service_wraps=True).close()
        assert kms.is_closed


class TestMoving:
    async def _sealed(self, store: KeyStore, master: MasterKeys, clock: FrozenClock) -> str:
        return (await SubjectKeys(store, master, clock).of("acme", "ana")).seal("hello", PLACE)

    async def _opened(self, store: KeyStore, master: MasterKeys, clock: FrozenClock, sealed: str) -> str:
        key = await SubjectKeys(store, master, clock).opener(sealed)
        assert key is not None
        return key.open(sealed, PLACE)

    async def test_from_a_key_to_the_service_and_back(
        self, store: KeyStore, keys: ServiceKeys, kms: FakeKms, clock: FrozenClock
    ) -> None:
        sealed = await self._sealed(store, LOCAL, clock)
        for both, alone in (
            (LocalAndService(LOCAL, keys, service_wraps=True), keys),
            (LocalAndService(LOCAL, keys, service_wraps=False), LOCAL),
        ):
            assert await self._opened(store, both, clock, sealed) == "hello"
            assert await SubjectKeys(store, both, clock).rewrap() == 1
            assert list(await store.counts()) == [alone.current]
            assert await self._opened(store, alone, clock, sealed) == "hello"

    async def test_within_the_service(
        self, store: KeyStore, keys: ServiceKeys, kms: FakeKms, clock: FrozenClock
    ) -> None:
        old = kms.current
        sealed = await self._sealed(store, keys, clock)
        kms.rotate()
        assert await SubjectKeys(store, keys, clock).rewrap() == 1
        kms.destroy(old)
        assert await self._opened(store, keys, clock, sealed) == "hello"

    async def test_a_service_that_fails_writes_no_key_and_opens_none_it_has_not_at_hand(
        self, store: KeyStore, keys: ServiceKeys, kms: FakeKms, clock: FrozenClock
    ) -> None:
        subjects = SubjectKeys(store, keys, clock)
        sealed = (await subjects.of("acme", "ana")).seal("hello", PLACE)
        kms.fails = ConnectionError()
        assert await subjects.opener(sealed) is not None
        with pytest.raises(KmsUnavailable):
            await subjects.of("acme", "ben")
        clock.advance(subjects.seconds + 1)
        with pytest.raises(KmsUnavailable):
            await subjects.opener(sealed)
        assert await store.counts() == {kms.current: 1}
        kms.fails = None
        assert await subjects.opener(sealed) is not None


class TestServiceNamed:
    def test_it_is_what_the_factory_makes(self) -> None:
        assert isinstance(service_named("handrail.testing:FakeKms"), FakeKms)

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("nowhere_at_all:kms", "ModuleNotFoundError"),
            ("handrail.testing:Nothing", "AttributeError"),
            ("builtins:dict", "no current, wrap, unwrap, close"),
        ],
    )
    def test_what_is_none_is_refused_by_name(self, name: str, says: str) -> None:
        with pytest.raises(MasterKeyProblem, match=says):
            service_named(name)
