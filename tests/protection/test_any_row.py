"""Lines of texts to be scanned come from anywhere: a row, or an error that names the place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.errors import UsageError
from handrail.protection.guardrails import evaluation as guard
from handrail.protection.privacy import evaluation as privacy
from tests.declared import only

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["user", "tool"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ROWS = VALUES | st.fixed_dictionaries(
    {"text": st.text(max_size=10) | VALUES},
    optional=dict.fromkeys(("id", "label", "channel", "source", "previous", "spans"), VALUES),
)


@pytest.mark.parametrize("parse_row", [guard.parse_row, privacy.parse_row])
@given(value=ROWS)
def test_any_value_is_a_row_or_refused_with_its_place(parse_row: Any, value: object) -> None:
    with only(UsageError, says="line 7", shorter_than=400):
        assert isinstance(parse_row("line 7", value).text, str)


def test_a_value_nested_to_the_bottom_is_refused() -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    for value in (deep, {"text": deep}, {"text": "a", "spans": deep}, {"text": "a", "channel": deep}):
        for parse_row in (guard.parse_row, privacy.parse_row):
            with only(UsageError, says="line 7", shorter_than=400):
                parse_row("line 7", value)
