"""Pages of other sites: closed, but for the origins a deployment names."""

from collections.abc import Mapping, Sequence

METHODS = b"GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = b"authorization, content-type, idempotency-key, last-event-id, traceparent"
RESPONSE_HEADERS = b"retry-after, ratelimit, ratelimit-policy, x-handrail-overhead-ms"
PREFLIGHT_SECONDS = b"600"
Header = tuple[bytes, bytes]


class Cors:
    """Which pages may use the API from a browser.

    Credentials of the browser (cookies) are never allowed: who calls says so by the Authorization header.
    """

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def allows(self, origin: bytes | None) -> bool:
        """Whether pages of this origin may call and read answers."""
        return origin is not None and origin in self._origins

    def headers(self, origin: bytes) -> list[Header]:
        """For an answer to an allowed origin."""
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", RESPONSE_HEADERS),
            (b"vary", b"origin"),
        ]

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> list[Header] | None:
        """The headers of the answer to a browser that asks first, if this is such a request and it may."""
        origin = headers.get(b"origin")
        if method != "OPTIONS" or b"access-control-request-method" not in headers or not self.allows(origin):
            return None
        return [
            (b"access-control-allow-origin", origin or b""),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
            (b"vary", b"origin"),
        ]
