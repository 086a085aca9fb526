"""What every route needs from a request: who calls, the services, a body of the right kind."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, StringConstraints
from starlette.requests import HTTPConnection, Request

from handrail.core.principal import Principal, Role
from handrail.flows.services import Services
from handrail.http.errors import RATE, ApiError, rate_headers
from handrail.http.followers import Followers
from handrail.http.json_limits import MOST_DEPTH, MOST_PARTS, is_bounded
from handrail.http.parameters import require_known
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied, Scope, require_role, require_scope
from handrail.protection.rate_limits import RateDecision
from handrail.serving.conversations import IdempotencyScope

M = TypeVar("M", bound=BaseModel)
MOST_KEY_CHARACTERS = 255
CALLER = "handrail.principal"
# What the guard counts a client by; absent for one that is not counted.
SOURCE = "handrail.source"
# The character zero is text in JSON, and PostgreSQL takes it in no query.
NO_ZERO = r"^[^\x00]*$"
# Nor is it a name or a reason to write nothing but spaces.
SAYS_SOMETHING = r"^[^\x00]*[^\s\x00][^\x00]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=SAYS_SOMETHING)]
Note = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=SAYS_SOMETHING)]


def services_of(connection: HTTPConnection) -> Services:
    return cast(Services, connection.app.state.services)


def followers_of(connection: HTTPConnection) -> Followers:
    return cast(Followers, connection.app.state.followers)


async def principal_of(connection: HTTPConnection, scope: Scope, *more: Scope) -> Principal:
    """Who calls, by the Authorization header alone, for what the scopes name.

    Raises:
        Unauthenticated: nobody we know.
        ApiError: the address asks for what the route does not have.
        PermissionDenied: their key is narrowed to other scopes.
    """
    principal = await _caller_of(connection)
    require_scope(principal, scope, *more)
    return principal


async def _caller_of(connection: HTTPConnection) -> Principal:
    client = connection.client
    loopback = client is not None and client.host in ("127.0.0.1", "::1")
    principal = await services_of(connection).authenticator.authenticate(
        connection.headers.get("authorization"), loopback=loopback, source=connection.scope.get(SOURCE)
    )
    # For the one place that answers errors: a denial is recorded with who was denied.
    connection.scope[CALLER] = principal
    require_known(connection)
    return principal


async def staff_of(connection: HTTPConnection, scope: Scope, *roles: Role) -> Principal:
    """The caller, who must have one of the roles and not be narrowed to other scopes."""
    principal = await principal_of(connection, scope)
    require_role(principal, *roles)
    return principal


async def local_operator_of(connection: HTTPConnection) -> Principal:
    """The operator at this machine, known by the token in the data folder."""
    principal = await _caller_of(connection)
    if principal != LOCAL_OPERATOR:
        raise PermissionDenied(
            "only the operator at the server's own machine may do this; use the `handrail` command there"
        )
    return principal


async def body_of(request: Request, schema: type[M]) -> tuple[M, bytes]:
    """The validated body and its bytes; an empty one counts as `{}`."""
    content_type = request.headers.get("content-type", "")
    body = await _read(request)
    if not content_type.partition(";")[0].strip().lower() == "application/json" and (body or content_type):
        raise ApiError("unsupported_media_type", f"send application/json, not {content_type or 'an unnamed type'!r}")
    require_bounded(body)
    return schema.model_validate_json(body or b"{}"), body


async def _read(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdigit() and len(length) < 6:
        return await request.body()
    # A thousand clients that send the most they may would fill the memory; few honest ones send so much.
    async with cast(asyncio.Semaphore, request.app.state.large_bodies):
        return await request.body()


def require_bounded(body: bytes) -> None:
    """Raises `ApiError` for JSON that no parser should build."""
    if not is_bounded(body):
        raise ApiError("invalid_body", f"a body is at most {MOST_DEPTH} levels deep and has at most {MOST_PARTS} parts")


def idempotency_of(request: Request, route: str, body: bytes) -> IdempotencyScope | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not key.strip() or len(key) > MOST_KEY_CHARACTERS:
        raise ApiError(
            "invalid_request", f"Idempotency-Key has 1 to {MOST_KEY_CHARACTERS} characters", param="Idempotency-Key"
        )
    return IdempotencyScope(route, key, body)


def note_rate(request: Request, decision: RateDecision) -> None:
    """Every answer says what is left of the rate, an error's too."""
    request.scope[RATE] = decision


def rate_headers_of(request: Request) -> dict[str, str]:
    return rate_headers(request.scope.get(RATE))


def overhead_header(result: Mapping[str, Any]) -> dict[str, str]:
    """What Handrail itself took of the turn; a turn whose end could not be stored has not measured it."""
    overhead = result.get("overhead_ms")
    return {} if overhead is None else {"x-handrail-overhead-ms": str(overhead)}


def last_event_of(connection: HTTPConnection) -> tuple[int, int] | None:
    """`Last-Event-ID` as (epoch, seq)."""
    return parse_event_id(connection.headers.get("last-event-id"))


def parse_event_id(text: str | None) -> tuple[int, int] | None:
    """Raises `ApiError` for an id that we can't have sent."""
    if not text:
        return None
    epoch, dot, seq = text.partition(".")
    if not (dot and all(len(each) <= 18 and each.isascii() and each.isdigit() for each in (epoch, seq))):
        raise ApiError(
            "invalid_request", f"Last-Event-ID {text!r} is not of the form <epoch>.<seq>", param="Last-Event-ID"
        )
    return int(epoch), int(seq)


def limit_of(request: Request, *, most: int = 200, default: int = 50) -> int:
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise ApiError("invalid_request", f"limit {text!r} is not a number from 1 to {most}", param="limit")
    return int(text)
