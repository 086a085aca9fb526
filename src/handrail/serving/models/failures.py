"""What a provider's failure means to the turn: one place that turns statuses and broken streams into `ModelError`s."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from handrail.core.models import (
    ModelDenied,
    ModelError,
    ModelMalformed,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
)

MAX_PROVIDER_WORDS = 200
MAX_RETRY_AFTER_SECONDS = 3600.0
# Overload and time-outs that providers report as a caller's mistake.
_PASSING = frozenset({408, 409, 425, 499})
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|rk|key|gsk|xai)[-_][\w*.-]{4,}")


@dataclass(frozen=True, slots=True)
class Failures:
    """Builds the errors of one client; messages name the model, are short and never show the key."""

    name: str
    api_key: str | None = None
    api_key_env: str | None = None
    wall_seconds: Callable[[], float] = time.time

    def of_status(self, status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
        """An answer that is not 200."""
        said = self._words(_error_message(body))
        if status == 429:
            wait = retry_after(headers, self.wall_seconds())
            return ModelRateLimited(f"{self.name} is rate limited: {said}", retry_after_seconds=wait)
        if status >= 500 or status in _PASSING:
            wait = retry_after(headers, self.wall_seconds())
            return ModelUnavailable(f"{self.name} answered {status}: {said}", retry_after_seconds=wait)
        if status in (401, 403):
            # The provider's words are left out: they may show a part of the key.
            key = f"the key in {self.api_key_env!r}" if self.api_key_env else "a call without a key"
            return ModelDenied(f"{self.name} refused {key} with {status}; check the key and what it may use")
        if status < 400:
            return ModelDenied(f"{self.name} answered {status} instead of an answer; check 'base_url'")
        if status == 404:
            return ModelDenied(f"{self.name} is not known there (404): {said}; check 'model' and 'base_url'")
        return ModelRefused(f"{self.name} refused the request with {status}: {said}")

    def of_event(self, error: object, after_text: bool) -> ModelError:
        """An error told inside a stream that began with 200."""
        details = error if isinstance(error, Mapping) else {"message": error}
        said = self._words(str(details.get("message") or "no reason given"))
        code = _status_in(details)
        message = f"{self.name} reported an error in its answer: {said}"
        if code == 429:
            return ModelRateLimited(message, after_text=after_text)
        if code is not None and 400 <= code < 500 and code not in _PASSING:
            return ModelRefused(message, after_text=after_text)
        return ModelUnavailable(message, after_text=after_text)

    def unsendable(self, why: str) -> ModelRefused:
        """The request can't be written as JSON or as HTTP."""
        return ModelRefused(f"{self.name} can't be sent this request: {why}")

    def unreachable(self, error: BaseException) -> ModelUnavailable:
        """No answer began: refused, reset, no such host, bad certificate."""
        return ModelUnavailable(f"{self.name} can't be reached: {self._words(str(error) or type(error).__name__)}")

    def timed_out(self, what: str, after_text: bool = False) -> ModelUnavailable:
        return ModelUnavailable(f"{self.name} {what}", after_text=after_text)

    def malformed(self, what: str, after_text: bool) -> ModelMalformed:
        return ModelMalformed(f"{self.name} {self._words(what)}", after_text=after_text)

    def _words(self, text: str) -> str:
        if self.api_key:
            text = text.replace(self.api_key, "[key]")
        text = _LOOKS_LIKE_A_KEY.sub("[key]", text)
        return text if len(text) <= MAX_PROVIDER_WORDS else text[:MAX_PROVIDER_WORDS] + "..."


def retry_after(headers: Mapping[str, str], wall_seconds: float) -> float | None:
    """Seconds to wait as the provider told them, in seconds, milliseconds or as a date; bounded to an hour."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        seconds = milliseconds / 1000
    else:
        value = headers.get("retry-after")
        if value is None:
            return None
        number = _number(value)
        seconds = _until(value, wall_seconds) if number is None else number
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _number(value: str | None) -> float | None:
    if value is None or not re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", value):
        return None
    return float(value)


def _until(date: str, wall_seconds: float) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - wall_seconds
    except (ValueError, OverflowError):
        return None


def _error_message(body: bytes) -> str:
    """The provider's own sentence, out of the several shapes in use, else the start of the body."""
    try:
        parsed: Any = orjson.loads(body)
    except ValueError:
        return " ".join(body.decode(errors="replace").split()) or "no reason given"
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    try:
        return str(error)
    except RecursionError:
        return "something that is nested too deeply to be read"


def _status_in(error: Mapping[str, Any]) -> int | None:
    for value in (error.get("status"), error.get("code")):
        if isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"\d{3}", value)):
            return int(value)
    kind = f"{error.get('type')} {error.get('code')}"
    if "rate_limit" in kind:
        return 429
    return 400 if "invalid_request" in kind or "context_length" in kind else None
