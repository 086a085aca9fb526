"""When a job that works by the day or the week has something to do, and of which whole days (UTC)."""

from handrail.core.clock import as_datetime
from handrail.core.jobs import Task

DAY = 24 * 3600 * 1_000_000
WEEK_DAYS = 7
MONDAY = 0


def whole_days(task: Task, days: int, now: int) -> tuple[int, int] | None:
    """From when until when, in microseconds; nothing when it is off, or by the week and due on another day."""
    is_scheduled = task.id.startswith("due-")
    if not days or (is_scheduled and days == WEEK_DAYS and as_datetime(now).weekday() != MONDAY):
        return None
    until = now - now % DAY
    return until - days * DAY, until
