import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.protection.encryption import ContentUnreadable, DataKey, is_sealed
from handrail.protection.encryption.envelope import key_of

PLACE = "message.content\0msg_1\0conv_1"


def _key(tenant_id: str = "acme", owner: str = "ana", secret: bytes = b"k" * 32) -> DataKey:
    return DataKey("dkey_1", 3, tenant_id, owner, secret)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_to_the_same_text(text: str) -> None:
    sealed = _key().seal(text, PLACE)
    assert is_sealed(sealed)
    assert _key().open(sealed, PLACE) == text


def test_a_sealed_value_names_its_key_and_its_version() -> None:
    assert key_of(_key().seal("hello", PLACE)) == ("dkey_1", 3)


def test_the_same_text_is_never_sealed_to_the_same_value() -> None:
    assert _key().seal("hello", PLACE) != _key().seal("hello", PLACE)


@pytest.mark.parametrize(
    "place",
    ["message.tool_calls\0msg_1\0conv_1", "message.content\0msg_2\0conv_1", "message.content\0msg_1\0conv_2"],
    ids=["another field", "another row", "another conversation"],
)
def test_a_value_that_was_moved_does_not_open(place: str) -> None:
    sealed = _key().seal("hello", PLACE)
    with pytest.raises(ContentUnreadable, match="changed or moved"):
        _key().open(sealed, place)


@pytest.mark.parametrize(
    "key",
    [_key(tenant_id="other"), _key(owner="ben"), _key(secret=b"x" * 32)],
    ids=["another tenant", "another subject", "another secret"],
)
def test_another_key_does_not_open_it(key: DataKey) -> None:
    with pytest.raises(ContentUnreadable):
        key.open(_key().seal("hello", PLACE), PLACE)


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_value_of_which_one_byte_was_changed_does_not_open(at: int, by: int) -> None:
    sealed = _key().seal("hello, this is Ana", PLACE)
    head, _, body = sealed.rpartition(":")
    at %= len(body)
    changed = f"{head}:{body[:at]}{chr((ord(body[at]) ^ by) % 128)}{body[at + 1 :]}"
    if changed != sealed:
        with pytest.raises(ContentUnreadable):
            _key().open(changed, PLACE)


@pytest.mark.parametrize("text", ["\x01h1:", "\x01h1:dkey_1", "\x01h1:dkey_1:x:AAAA"])
def test_what_only_looks_sealed_is_refused(text: str) -> None:
    with pytest.raises(ContentUnreadable, match="names no key"):
        key_of(text)
