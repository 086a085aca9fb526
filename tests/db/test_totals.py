"""Sums of whole numbers that no column can hold stay at the largest one, on both databases alike."""

from typing import Any

import pytest
from sqlalchemy import JSON, BigInteger, Integer, bindparam, cast, func, literal_column, select, text

from handrail.core import json
from handrail.db import Database, Prepared, plus, total
from handrail.db.totals import LARGEST

_GIVEN = func.json_each(bindparam("rows", type_=JSON)).table_valued("value", name="given")
_NUMBER: Any = cast(literal_column("given.value").op("->>")(literal_column("0")), BigInteger)
_TOTAL = Prepared(select(total(_NUMBER).label("total")).select_from(_GIVEN))
_PLUS = Prepared(
    text(f"SELECT {plus('a', 'b')} AS total FROM (SELECT CAST(:one AS BIGINT) AS a, CAST(:other AS BIGINT) AS b) AS x")
    .bindparams(bindparam("one", type_=BigInteger), bindparam("other", type_=BigInteger))
    .columns(total=Integer)
)
SUMS = [
    [], [None, None], [0], [1, 2, None, 3], [-1, -2], [2**32, -1], [-(2**40), 5], [LARGEST], [-LARGEST],
    [LARGEST, LARGEST, LARGEST], [-LARGEST, -LARGEST], [LARGEST, 1], [LARGEST, 1, -1], [-LARGEST, -1, -1, 2],
    [LARGEST - 1, 1], [2**62, 2**62, -1], [2**62] * 9,
]  # fmt: skip


def held(number: int) -> int:
    return max(-LARGEST, min(LARGEST, number))


@pytest.mark.parametrize("numbers", SUMS, ids=lambda each: f"{len(each)} of {each[:1]}")
async def test_of_many_are_exact_up_to_the_largest_number_and_of_nothing_unknown(
    db: Database, numbers: list[int | None]
) -> None:
    rows = {str(place): [number] for place, number in enumerate(numbers)}
    row = await db.fetch_one(_TOTAL, {"rows": json.dumps(rows)})
    known = [each for each in numbers if each is not None]
    assert row is not None
    assert row["total"] == (held(sum(known)) if known else None)
    assert known == [] or isinstance(row["total"], int)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 2), (-1, 2), (LARGEST, 1), (LARGEST, -1), (-LARGEST, -1), (-LARGEST, 1), (0, LARGEST), (0, -LARGEST),
     (LARGEST, LARGEST), (-LARGEST, -LARGEST), (LARGEST, -LARGEST), (2**62, 2**62), (2**62, 2**62 - 1)],
)  # fmt: skip
async def test_of_two_are_exact_up_to_the_largest_number(db: Database, one: int, other: int) -> None:
    row = await db.fetch_one(_PLUS, {"one": one, "other": other})
    assert row is not None
    assert (type(row["total"]), row["total"]) == (int, held(one + other))
