"""What a model writes as arguments and what a tool returns can be anything."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.serving.tools.arguments import InvalidArguments, decode
from handrail.serving.tools.result import as_json
from tests.declared import only


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")


def nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=4)
    | st.sampled_from([Broken(), object(), 1j, {1, 2}, "\ud800", 2**70, range(3)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.tuples(st.integers()), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=6,
)


class TestResult:
    @given(VALUES, st.integers(200, 600))
    def test_anything_a_tool_returns_becomes_bounded_json(self, value: Any, most: int) -> None:
        text, is_whole = as_json(value, most)
        json.loads(text)
        # The kept half may double when it is quoted; around it stands one sentence.
        assert len(text.encode()) <= (most if is_whole else 2 * most + 200)

    @pytest.mark.parametrize("value", [nested(2_000), cycle(), "x" * 1_000_000, {"a": Broken()}])
    def test_what_has_no_end_becomes_json_all_the_same(self, value: Any) -> None:
        text, _ = as_json(value, 500)
        json.loads(text)
        assert len(text) < 1_200


class TestArguments:
    @given(st.text(max_size=40) | VALUES.map(lambda value: as_json(value, 500)[0]))
    def test_any_text_is_an_object_or_refused(self, text: str) -> None:
        with only(InvalidArguments, shorter_than=300):
            assert isinstance(decode(text), dict)

    @pytest.mark.parametrize("text", ["[" * 50_000, '{"a":' * 50_000, "9" * 50_000, '{"a":1e999}', '{"a":"\\ud800"}'])
    def test_what_is_bottomless_or_endless_is_refused_or_read(self, text: str) -> None:
        with only(InvalidArguments, shorter_than=300):
            decode(text)
