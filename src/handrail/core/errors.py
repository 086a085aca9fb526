"""The three families of errors: failures, pauses, and a caller's mistakes.

An error is named for the fact and lives beside the code that raises it; only the families live here.
HTTP statuses are given in one table, `handrail.http.errors`.
"""

from typing import ClassVar


class HandrailError(Exception):
    """A failure with a stable `code` that clients may rely on and a message that says what to do next."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class UsageError(HandrailError):
    """The caller asked for something that can't be: the message names the value and the mend."""

    code = "invalid_request"


class NotFound(UsageError):
    """No such thing for this principal; a thing of another tenant or user is not found either."""

    code = "not_found"


class TurnPaused(Exception):
    """The turn stops here on purpose and goes on later (an approval); never logged as a failure."""
