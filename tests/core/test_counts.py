"""Histograms as one text, added up by Python and by both databases alike."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Text, bindparam, func, select

from handrail.core import json
from handrail.core.counts import added, counts_text
from handrail.db import Database, Prepared

_COUNTS = st.dictionaries(st.integers(0, 200), st.integers(-3, 3), max_size=4)
_SUM: Any = func.handrail_added(bindparam("first", type_=Text), bindparam("second", type_=Text))
_ADDED = Prepared(select(_SUM.label("sum")))


@given(_COUNTS, _COUNTS)
def test_a_sum_is_that_of_each_number_and_what_comes_to_nothing_is_left_out(
    first: dict[int, int], second: dict[int, int]
) -> None:
    sums = {number: first.get(number, 0) + second.get(number, 0) for number in {*first, *second}}
    assert added(counts_text(first), counts_text(second)) == counts_text(sums)
    assert {int(number): count for number, count in json.loads(counts_text(sums)).items()} == {
        number: count for number, count in sums.items() if count
    }


@given(_COUNTS, _COUNTS)
def test_what_was_added_can_be_taken_off(first: dict[int, int], second: dict[int, int]) -> None:
    both = added(counts_text(first), counts_text(second))
    assert added(both, counts_text({number: -count for number, count in second.items()})) == counts_text(first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({2: 1, 10: 3}, {}),
        ({2: 1, 10: 3}, {10: 1, 100: 2, 3: 1}),
        ({2: 1, 10: 3}, {10: -3}),
        ({2: 1}, {2: -1}),
        ({183: 10**15}, {183: 10**15}),
    ],
)
async def test_databases_add_as_python_does(db: Database, first: dict[int, int], second: dict[int, int]) -> None:
    texts = {"first": counts_text(first), "second": counts_text(second)}
    row = await db.fetch_one(_ADDED, texts)
    assert row is not None
    assert row["sum"] == added(**texts)
