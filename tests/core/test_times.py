"""What people and programs write as times is read the same everywhere, and what is none is told by name and value."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.errors import UsageError
from handrail.core.times import END, FIRST, InvalidPeriod, day_of, micros_of, require_order


@given(st.datetimes(datetime(1971, 1, 2), datetime(2199, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_time_is_read_as_it_was_written_and_without_an_offset_as_utc(at: datetime) -> None:
    assert micros_of("since", at.isoformat()) == micros_of("since", at.replace(tzinfo=None).isoformat())
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros_of("since", at.isoformat())) == at


@given(st.dates(FIRST, END).filter(lambda day: day < END))
def test_a_day_is_one_also_as_the_time_at_which_it_begins(day: date) -> None:
    assert day_of("since", day.isoformat()) == day
    assert day_of("since", f"{day}T00:00:00Z") == day
    assert day_of("since", f"{day}T02:00:00+02:00") == day


@given(st.text())
def test_any_text_is_a_time_or_is_refused_by_name(text: str) -> None:
    refused = list[str | None]()
    for read in (micros_of, day_of):
        try:
            read("since", text)
        except UsageError as error:
            refused.append(error.param)
    assert set(refused) <= {"since"}


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (micros_of, "yesterday", "since 'yesterday' is not a time such as 2026-11-27T08:00:00Z"),
        (day_of, "2026-13-01", "since '2026-13-01' is not a day such as 2026-11-27"),
        (day_of, "2026-11-27T08:00", "since '2026-11-27T08:00' is within a day, and days are counted whole (UTC): say"),
        (micros_of, "9999-12-31", "since '9999-12-31' is not between the years 1971 and 2200"),
        (day_of, "2300-01-01", "since '2300-01-01' is not between the years 1971 and 2200"),
        (micros_of, "2026-11-27T08:00:00 02:00", "in an address write + as %2B"),
        (micros_of, "x" * 9000, "xxx' is not a time"),
    ],
)
def test_says_what_is_wrong(read, text: str, said: str) -> None:  # pyright: ignore[reportMissingParameterType]
    with pytest.raises(UsageError) as caught:
        read("since", text)
    assert said in caught.value.message
    assert len(caught.value.message) < 300


def test_a_period_ends_after_it_begins() -> None:
    require_order(1, 2)
    with pytest.raises(InvalidPeriod, match=r"since 1970-01-01T00:00:02\+00:00 is not before until 1970"):
        require_order(2_000_000, 1_000_000)
