"""When a job is due."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.jobs import Schedule

HOUR = 3600 * 1_000_000


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


SCHEDULES = st.builds(Schedule, st.integers(0, 59), st.none() | st.integers(0, 23))
TIMES = st.integers(0, at("2100-01-01"))


class TestSchedule:
    @pytest.mark.parametrize(
        ("schedule", "now", "last", "following"),
        [
            (Schedule(7), "2026-11-27T04:06:59", "2026-11-27T03:07:00", "2026-11-27T04:07:00"),
            (Schedule(7), "2026-11-27T04:07:00", "2026-11-27T04:07:00", "2026-11-27T05:07:00"),
            (Schedule(20, 3), "2026-01-01T03:19:59", "2025-12-31T03:20:00", "2026-01-01T03:20:00"),
            (Schedule(20, 3), "2026-12-31T23:59:59", "2026-12-31T03:20:00", "2027-01-01T03:20:00"),
        ],
    )
    def test_knows_the_time_before_and_the_time_after(
        self, schedule: Schedule, now: str, last: str, following: str
    ) -> None:
        assert (schedule.last_until(at(now)), schedule.next_after(at(now))) == (at(last), at(following))

    @given(SCHEDULES, TIMES)
    def test_lies_around_any_moment_with_one_period_between(self, schedule: Schedule, now: int) -> None:
        period = HOUR if schedule.hour is None else 24 * HOUR
        last = schedule.last_until(now)
        assert last <= now < last + period == schedule.next_after(now)
        assert schedule.last_until(last) == last

    def test_is_a_cron_expression_and_words(self) -> None:
        assert (Schedule(7).cron, str(Schedule(7))) == ("7 * * * *", "every hour at :07")
        assert (Schedule(5, 3).cron, str(Schedule(5, 3))) == ("5 3 * * *", "every day at 03:05 UTC")
