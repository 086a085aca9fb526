"""Stands in for the library's own system: replace it by calls to yours.

Files of a project import each other relatively (`from .library import ...`), so that several releases of your agent
can be loaded side by side, each with its own code.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

LOAN_DAYS = 21
MOST_RENEWALS = 2


@dataclass
class Loan:
    """One book that a reader has at home."""

    number: str
    title: str
    due: date
    renewals: int = 0

    @property
    def is_renewable(self) -> bool:
        return self.renewals < MOST_RENEWALS

    def renew(self) -> None:
        self.due = max(self.due, today()) + timedelta(days=LOAN_DAYS)
        self.renewals += 1


def today() -> date:
    return datetime.now(tz=UTC).date()


# In memory only: a restart forgets the renewals.
_LOANS: dict[str, list[Loan]] = {}


def loans_of(reader: str) -> list[Loan]:
    """The reader's own loans; everybody begins with the same three books."""
    if reader not in _LOANS:
        _LOANS[reader] = [
            Loan("L101", "The Lighthouse Keeper", today() + timedelta(days=2)),
            Loan("L102", "Bread for Beginners", today() + timedelta(days=9)),
            Loan("L103", "A Short History of Maps", today() - timedelta(days=1), renewals=MOST_RENEWALS),
        ]
    return _LOANS[reader]


def find(reader: str, number: str) -> Loan | None:
    """A loan of this reader; the number of somebody else's loan finds nothing."""
    return next((loan for loan in loans_of(reader) if loan.number == number), None)
