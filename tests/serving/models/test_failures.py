from datetime import UTC, datetime

import orjson
import pytest

from handrail.core.models import ModelDenied, ModelError, ModelRateLimited, ModelRefused, ModelUnavailable
from handrail.serving.models.failures import MAX_PROVIDER_WORDS, Failures, retry_after

KEY = "sk-secret-1234567890"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


def failed(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> ModelError:
    return Failures("model 'm' at here", KEY, "MY_KEY", lambda: NOON).of_status(status, headers or {}, body)


class TestOfStatus:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, ModelRefused), (401, ModelDenied), (404, ModelDenied), (413, ModelRefused), (302, ModelDenied),
            (408, ModelUnavailable), (409, ModelUnavailable), (500, ModelUnavailable), (503, ModelUnavailable),
            (529, ModelUnavailable), (429, ModelRateLimited),
        ],
    )  # fmt: skip
    def test_says_whether_trying_again_is_any_use(self, status: int, kind: type[ModelError]) -> None:
        error = failed(status)
        assert type(error) is kind
        assert error.retryable is not issubclass(kind, ModelRefused)

    def test_tells_the_providers_own_words(self) -> None:
        body = orjson.dumps({"error": {"message": "context too long"}})
        assert str(failed(400, body)) == "model 'm' at here refused the request with 400: context too long"

    @pytest.mark.parametrize(
        "body", [b'{"message":"why"}', b'{"detail":"why"}', b'{"error":"why"}', b"  why \n", b'["why"]']
    )
    def test_finds_the_words_in_other_shapes(self, body: bytes) -> None:
        assert "why" in str(failed(400, body))

    def test_shortens_long_words(self) -> None:
        assert len(str(failed(500, b"x" * 5_000))) < MAX_PROVIDER_WORDS + 100

    def test_names_the_variable_of_a_refused_key(self) -> None:
        assert "'MY_KEY'" in str(failed(401))

    @pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
    def test_never_shows_the_key_or_what_looks_like_one(self, status: int) -> None:
        message = str(failed(status, f"key {KEY} or sk-abc***wxyz is wrong".encode()))
        assert KEY not in message
        assert "wxyz" not in message


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "7"}, 7.0),
            ({"retry-after": "0.5"}, 0.5),
            ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
            ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, 30.0),
            ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0.0),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "-1"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "999999"}, 3600.0),
        ],
    )
    def test_reads_seconds_milliseconds_and_dates(self, headers: dict[str, str], seconds: float | None) -> None:
        assert retry_after(headers, NOON) == seconds

    def test_stands_on_the_error(self) -> None:
        assert failed(429, headers={"retry-after": "7"}).retry_after_seconds == 7.0
