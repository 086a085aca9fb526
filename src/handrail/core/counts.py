"""Counts by number as one text, so that a histogram is a column that can be added to. Pure.

The same counts are always the same text: in the order of their numbers, and without those that came to nothing.
"""

from collections.abc import Mapping

from handrail.core import json


def counts_text(counts: Mapping[int, int]) -> str:
    """As it is stored."""
    return json.dumps({str(number): count for number, count in sorted(counts.items()) if count})


def added(first: str, second: str) -> str:
    """The sum of two; what the function `handrail_added` of a database gives."""
    sums: dict[int, int] = {}
    for text in (first, second):
        for number, count in json.loads(text).items():
            sums[int(number)] = sums.get(int(number), 0) + count
    return counts_text(sums)
