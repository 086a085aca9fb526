import base64
from pathlib import Path

import pytest

from handrail.protection.encryption import KeyUnavailable, LocalMasterKeys, MasterKeyProblem, master_keys

OLD, NEW = b"o" * 32, b"n" * 32


def _text(*keys: bytes) -> str:
    return ",".join(base64.b64encode(each).decode() for each in keys)


async def test_a_data_key_is_wrapped_and_unwrapped_at_its_place() -> None:
    keys = LocalMasterKeys([NEW])
    _, wrapped = await keys.wrap(b"secret", "place")
    assert b"secret" not in wrapped
    assert await keys.unwrap(keys.current, wrapped, "place") == b"secret"
    with pytest.raises(KeyUnavailable, match="was changed"):
        await keys.unwrap(keys.current, wrapped, "elsewhere")


async def test_an_older_key_still_unwraps_what_it_wrapped() -> None:
    old, both = LocalMasterKeys([OLD]), LocalMasterKeys([NEW, OLD])
    _, wrapped = await old.wrap(b"secret", "place")
    assert both.current != old.current
    assert await both.unwrap(old.current, wrapped, "place") == b"secret"


async def test_a_master_key_that_is_not_set_is_named() -> None:
    old, new = LocalMasterKeys([OLD]), LocalMasterKeys([NEW])
    with pytest.raises(KeyUnavailable, match=old.current):
        await new.unwrap(*await old.wrap(b"secret", "place"), "place")


def test_there_is_none_without_a_setting() -> None:
    assert master_keys(None, None) is None


def test_the_first_of_several_is_the_current_one() -> None:
    keys = master_keys(_text(NEW, OLD), None)
    assert keys is not None
    assert keys.current == LocalMasterKeys([NEW]).current


def test_a_file_holds_one_key_a_line(tmp_path: Path) -> None:
    file = tmp_path / "master"
    file.write_text(_text(NEW, OLD).replace(",", "\n") + "\n")
    file.chmod(0o600)
    keys = master_keys(None, file)
    assert keys is not None
    assert keys.current == LocalMasterKeys([NEW]).current


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "master"
    file.write_text(_text(NEW))
    file.chmod(0o644)
    with pytest.raises(MasterKeyProblem, match="others can read"):
        master_keys(None, file)


@pytest.mark.parametrize("text", ["", "short", "%%%", base64.b64encode(b"x" * 16).decode()])
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(MasterKeyProblem, match="HANDRAIL_ENCRYPTION__MASTER_KEY") as caught:
        master_keys(text, None)
    assert not text or text not in str(caught.value).replace("short of", "")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyProblem, match="nowhere"):
        master_keys(None, tmp_path / "nowhere")
