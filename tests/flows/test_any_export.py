"""An exported audit log may be written by anybody: it is judged, or said to be none, and never chooses how long."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.flows.audit_desk import FORMAT, NotAnExport, read_checkpoints, read_export, verify_export
from tests.declared import only

HASH = "ab" * 32
VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from([HASH, "{}", '{"seq":1}', "k", "9" * 5_000, 2**62])
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
)
TEXT = st.text(max_size=4)


def line(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A line as it should be in all but one field, at most."""
    sound = st.fixed_dictionaries({"type": st.just(kind), **fields})
    return sound | st.builds(
        lambda body, name, value: body | {name: value}, sound, st.sampled_from(sorted(fields)), VALUES
    )


HEADERS = line(
    "header", format=st.just(FORMAT), public_keys=st.dictionaries(TEXT, TEXT, max_size=1), unsealed=st.just(0)
)
LINES = (
    line("record", id=TEXT, tenant_id=TEXT, at=st.integers(0, 9), action=TEXT, outcome=TEXT, actor=TEXT, target=TEXT,
         body=TEXT | st.just('{"id":"x"}'), seq=st.integers(-2, 3), leaf=TEXT | st.just(HASH))
    | line("leaf", seq=st.integers(-2, 2**62), leaf=st.just(HASH))
    | line("checkpoint", number=st.integers(0, 3), size=st.integers(0, 2**40), root=st.just(HASH), previous=TEXT,
           at=st.integers(0, 9), key_id=TEXT, signature=TEXT)
    | VALUES
)  # fmt: skip


@given(HEADERS, st.lists(LINES, max_size=4))
def test_any_lines_are_judged_or_are_no_export(header: Any, lines: list[Any]):
    with only(NotAnExport):
        export = read_export([json.dumps(each) for each in (header, *lines)])
        found = asyncio.run(verify_export(export))
        assert found.proven == 0
        assert len(found.findings) <= 50


@given(st.lists(st.text(max_size=20) | LINES.map(json.dumps), max_size=3))
def test_any_lines_are_checkpoints_or_are_not(lines: list[str]):
    with only(NotAnExport):
        assert all(each.at >= 0 for each in read_checkpoints(lines))


async def test_a_hole_of_any_size_is_found_at_once():
    header = {"type": "header", "format": FORMAT, "public_keys": {}, "unsealed": 0}
    leaf = {"type": "leaf", "seq": 2**62, "leaf": HASH}
    found = await verify_export(read_export([json.dumps(header), json.dumps(leaf)]))
    assert "place 0 is missing" in found.findings[0].what


@pytest.mark.parametrize("name", ["number", "size", "at"])
def test_a_checkpoint_with_a_number_beyond_all_bounds_is_none(name: str):
    body = {"number": 1, "size": 1, "root": HASH, "previous": "", "at": 1, "key_id": "k", "signature": ""}
    for value in ("9" * 5_000, -1, 2**63, [], None):
        with pytest.raises(NotAnExport):
            read_checkpoints([json.dumps(body | {name: value})])
