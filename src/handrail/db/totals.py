"""Sums that stay whole numbers: one that no column can hold stays at the largest one, on either database.

Left alone, SQLite makes a fraction of two numbers and refuses the sum of many, and PostgreSQL refuses both.
"""

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

LARGEST = 2**63 - 1


class _Total(FunctionElement[int]):
    name = "total"
    type = BigInteger()
    inherit_cache = True


def total(column: ColumnElement[Any]) -> ColumnElement[int]:
    """The sum of whole numbers; of nothing but nulls it stays null: unknown."""
    return _Total(column)


def plus(one: str, other: str) -> str:
    """The SQL for the sum of two columns that are never null, for statements that are text."""
    return (
        f"CASE WHEN {one} > 0 AND {other} > {LARGEST} - {one} THEN {LARGEST} "
        f"WHEN {one} < 0 AND {other} < -{LARGEST} - {one} THEN -{LARGEST} ELSE {one} + {other} END"
    )


@compiles(_Total, "sqlite")
def _in_halves(element: _Total, compiler: Any, **given: Any) -> str:
    """The sums of the upper and of the lower 32 bits, for which there is always room."""
    of = compiler.process(element.clauses, **given)
    low = f"SUM({of} & 4294967295)"
    high = f"(SUM({of} >> 32) + ({low} >> 32))"
    return (
        f"CASE WHEN {high} > 2147483647 THEN {LARGEST} WHEN {high} < -2147483648 THEN -{LARGEST} "
        f"ELSE {high} * 4294967296 + ({low} & 4294967295) END"
    )


@compiles(_Total, "postgresql")
def _of_any_size(element: _Total, compiler: Any, **given: Any) -> str:
    """PostgreSQL sums whole numbers to one of any size."""
    sum_of = f"SUM({compiler.process(element.clauses, **given)})"
    ends = f"WHEN {sum_of} > {LARGEST} THEN {LARGEST} WHEN {sum_of} < -{LARGEST} THEN -{LARGEST}"
    return f"CAST(CASE {ends} ELSE {sum_of} END AS BIGINT)"
