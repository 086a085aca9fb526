"""The outermost layer, plain ASGI: what is open, trace id, who is at the other end and how often, body limit, Host and
Origin."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handrail.core.addresses import source_of
from handrail.http.edge import Edge
from handrail.http.errors import ApiError, error_body, json_response, respond
from handrail.http.requests import SOURCE
from handrail.http.security_headers import ONE_LINE
from handrail.protection.rate_limits import AddressRate, RateLimited
from handrail.telemetry.trace import begin_trace

MOST_BODY_BYTES = 1024 * 1024
MOST_OPEN = 4096
# What watches the server must hear from it above all when it is full.
ALWAYS_ANSWERED = frozenset({"/healthz", "/readyz", "/metrics"})
# What asks whether it lives may share its address with those who ask too much; a page of metrics is work.
UNCOUNTED_PATHS = frozenset({"/healthz", "/readyz"})
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
Headers = Mapping[bytes, bytes]


class Guard:
    """Refuses what no route should see.

    Args:
        port: of the server. Without keys only Host 127.0.0.1, localhost or [::1] with this port is served, and a
            foreign Origin is refused on POST and WebSocket: a page of another site must not drive a local server.
        has_keys: asked at every request; once keys exist, the Authorization header is the guard.
        most_open: requests, event streams and sockets at once; what comes beyond them is refused unread.
        edge: which proxies are believed, which pages of other sites may call, what every answer says to browsers.
        rates: how many requests one address may make.
    """

    def __init__(
        self,
        app: ASGIApp,
        port: int,
        has_keys: Callable[[], bool],
        most_open: int = MOST_OPEN,
        edge: Edge | None = None,
        rates: AddressRate | None = None,
    ) -> None:
        self.app = app
        self.edge = edge or Edge()
        self._has_proxies, self._shares = bool(self.edge.proxies), bool(self.edge.cors)
        self.port = port
        self.has_keys = has_keys
        self.most_open = most_open
        self.rates = rates
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self.open >= self.most_open and scope["path"] not in ALWAYS_ANSWERED:
            await _refuse(self._full(), scope, receive, self._secured(scope, send), TRY_AGAIN_LATER)
            return
        self.open += 1
        try:
            await self._pass(scope, receive, send)
        finally:
            self.open -= 1

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The first of a name counts.
        headers: Headers = dict(reversed(scope["headers"]))
        begin_trace(_text(headers, b"traceparent"), _text(headers, b"tracestate"))
        if self._has_proxies:
            self._look_behind_proxies(scope, headers)
        refused = await self._crowding_out(scope) if self.rates is not None else None
        if refused is None:
            refused = self._refusal(scope, headers) or (self._preflight(scope, headers) if self._shares else None)
        send = self._secured(scope, send, headers.get(b"origin"))
        if refused is not None:
            await _refuse(refused, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        # A body of a stated length is not longer: the HTTP parser sees to it.
        has_length = b"content-length" in headers and b"transfer-encoding" not in headers
        await self.app(scope, receive if has_length else _bounded(receive), send)

    async def _crowding_out(self, scope: Scope) -> Response | None:
        """The refusal of an address that asks too much; from here on `SOURCE` is what its attempts are counted by."""
        client, rates = scope.get("client"), self.rates
        if rates is None or (client is not None and not self.edge.proxies.counts(client[0])):
            return None
        # Whoever a proxy can't name is counted together.
        source = scope[SOURCE] = "" if client is None else source_of(client[0])
        if scope["path"] in UNCOUNTED_PATHS:
            return None
        try:
            if not rates.counted(source):
                await rates.require(source)
        except RateLimited as error:
            return respond(error)
        return None

    def _look_behind_proxies(self, scope: Scope, headers: Headers) -> None:
        """From here on `client` and `scheme` are those of who asked."""
        client = scope.get("client")
        if client is None or not self.edge.proxies.trusts(client[0]):
            return
        # A proxy may add a line of its own instead of lengthening the one it got.
        hops = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if hops:
            found = self.edge.proxies.client(client[0], hops)
            scope["client"] = None if found is None else (found, 0)
        if _text(headers, b"x-forwarded-proto") == "https":
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"

    def _preflight(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["type"] == "websocket":
            return None
        allowed = self.edge.cors.preflight(scope["method"], headers)
        if allowed is None:
            return None
        response = Response(status_code=204)
        response.raw_headers += allowed
        return response

    def _secured(self, scope: Scope, send: Send, origin: bytes | None = None) -> Send:
        shared = self.edge.cors.headers(origin) if origin is not None and self.edge.cors.allows(origin) else None
        security, one_line = self.edge.headers, ONE_LINE in scope.get("extensions", ())

        # No coroutine of its own: this is passed by every piece of every stream.
        def secured(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = security.added_to(message["headers"], one_line=one_line)
                if shared:
                    given = {name for name, _ in message["headers"]}
                    message["headers"] += [each for each in shared if each[0] not in given]
            return send(message)

        return secured

    def _full(self) -> Response:
        message = f"{self.open} requests and streams are open, as many as this server keeps; try again in a second"
        return json_response(error_body("overloaded", message), 503, {"retry-after": "1"})

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return json_response(error_body("invalid_request", "an address can't hold the character zero"), 400)
        length = _text(headers, b"content-length") or "0"
        if not (length.isascii() and length.isdigit() and len(length) < 20) or int(length) > MOST_BODY_BYTES:
            return json_response(error_body("body_too_large", f"a body has at most {MOST_BODY_BYTES} bytes"), 413)
        if self.has_keys():
            return None
        host = _text(headers, b"host")
        if not self._is_local_host(host or ""):
            return json_response(
                error_body(
                    "foreign_origin",
                    "without API keys this server answers only to 127.0.0.1 or localhost, "
                    f"not to Host {host!r}; make keys with `handrail keys create`",
                ),
                403,
            )
        if b"x-forwarded-for" in headers or b"forwarded" in headers:
            # Whoever is behind the proxy would pass for somebody at this machine.
            message = "this request came through a proxy, and without API keys only this machine is served"
            return json_response(error_body("foreign_origin", f"{message}; make keys with `handrail keys create`"), 403)
        origin = _text(headers, b"origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and origin is not None and not self._may_call(origin):
            return json_response(error_body("foreign_origin", f"Origin {origin!r} may not use this server"), 403)
        return None

    def _is_local_host(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            return parts.hostname in LOOPBACK_NAMES and (parts.port or (443 if self.edge.tls else 80)) == self.port
        except ValueError:
            return False

    def _may_call(self, origin: str) -> bool:
        if self.edge.cors.allows(origin.encode("latin-1")):
            return True
        scheme, _, rest = origin.partition("://")
        return scheme in ("http", "https") and self._is_local_host(rest)


def _text(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


async def _refuse(
    response: Response, scope: Scope, receive: Receive, send: Send, close_code: int = POLICY_VIOLATION
) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": close_code, "reason": "refused"})
        return
    await response(scope, receive, send)


def _bounded(receive: Receive) -> Receive:
    total = 0

    async def bounded() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > MOST_BODY_BYTES:
                raise ApiError("body_too_large", f"a body has at most {MOST_BODY_BYTES} bytes")
        return message

    return bounded
