"""Errors to responses, in one table and one shape."""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import HTTPConnection
from starlette.responses import Response

from handrail.core.errors import HandrailError
from handrail.flows.audit import denied
from handrail.protection.rate_limits import RateDecision, RateLimited
from handrail.telemetry.logging import logger
from handrail.telemetry.trace import current_trace_id

STATUS: Mapping[str, int] = {
    "invalid_request": 400,
    "unsupported_media_type": 415,
    "body_too_large": 413,
    "head_too_large": 431,
    "request_timeout": 408,
    "unauthenticated": 401,
    "permission_denied": 403,
    "foreign_origin": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "log_export_runs": 409,
    "too_few_users": 422,
    "conversation_busy": 409,
    "approval_conflict": 409,
    "alert_conflict": 409,
    "turn_over": 409,
    "release_in_use": 409,
    "invalid_message": 422,
    "invalid_body": 422,
    "invalid_project": 422,
    "too_few_examples": 422,
    "idempotency_mismatch": 422,
    "invalid_decision": 422,
    "invalid_delegation": 422,
    "invalid_baseline": 422,
    "invalid_period": 422,
    "nothing_measured": 422,
    "invalid_feedback": 422,
    "rate_limited": 429,
    "tenant_overloaded": 429,
    "internal": 500,
    "content_unreadable": 500,
    "not_storable": 500,
    "release_altered": 500,
    "release_collision": 500,
    "model_error": 502,
    "store_unavailable": 503,
    "key_unavailable": 503,
    "kms_unavailable": 503,
    "signing_keys_unavailable": 503,
    "provider_unavailable": 503,
    "switched_off": 503,
    "engine_unavailable": 503,
    "training_stopped": 503,
    "shutting_down": 503,
    "overloaded": 503,
    "breaker_open": 503,
    "not_ready": 503,
    "deadline_exceeded": 504,
}

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


class ApiError(HandrailError):
    """A mistake that only exists in HTTP: a header, a media type, a method."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.api_code = code


def error_body(code: str, message: str, *, param: str | None = None, status: int | None = None) -> dict[str, Any]:
    status = status or STATUS.get(code, 500)
    kind = _TYPES.get(
        status, "rate_limit_error" if status == 429 else "api_error" if status >= 500 else "invalid_request_error"
    )
    return {"error": {"type": kind, "code": code, "message": message, "param": param, "trace_id": current_trace_id()}}


def respond(error: HandrailError) -> Response:
    """The response for an error that has a name."""
    code = error.api_code if isinstance(error, ApiError) else error.code
    status = STATUS.get(code, 500)
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_seconds + 0.5)))
    if isinstance(error, RateLimited):
        headers |= rate_headers(error.decision, error.name)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return json_response(error_body(code, error.message, param=error.param), status, headers)


def rate_headers(decision: RateDecision | None, name: str = "turns") -> dict[str, str]:
    """What is left of the caller's rate, and when more of it is back; nothing when no rate was looked at."""
    if decision is None:
        return {}
    wait = decision.reset_seconds if decision.allowed else decision.retry_after_seconds
    return {
        "ratelimit": f'"{name}";r={decision.remaining};t={max(1, round(wait + 0.5))}',
        "ratelimit-policy": f'"{name}";q={decision.limit}',
    }


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def invalid_body(error: ValidationError) -> Response:
    """A body that does not fit its schema: the first place that is wrong, named."""
    first = error.errors(include_url=False)[0]
    param = ".".join(str(part) for part in first["loc"]) or None
    message = f"{param}: {first['msg']}" if param else first["msg"]
    return json_response(error_body("invalid_body", message, param=param), 422)


# What was decided of the caller's rate, for whatever answers in the end.
RATE = "handrail.rate"
DENIALS = frozenset({"unauthenticated", "permission_denied"})


def note_denial(connection: HTTPConnection, error: HandrailError) -> None:
    """A refusal for who asked goes into the audit log, with the route and never the path: that could hold anything."""
    if error.code not in DENIALS:
        return
    route: Any = connection.scope.get("route") or connection.scope.get("endpoint")
    name = getattr(route, "path", None) or getattr(route, "__name__", "unknown")
    method = connection.scope.get("method", "WEBSOCKET")
    denied(
        connection.app.state.services, connection.scope.get("handrail.principal"), f"route:{method}|{name}", error.code
    )


async def handle(request: HTTPConnection, error: Exception) -> Response:
    """The one handler of every exception that leaves a route."""
    if isinstance(error, HandrailError):
        note_denial(request, error)
        if STATUS.get(error.code, 500) >= 500 and not isinstance(error, ApiError):
            logger().warning("request failed", code=error.code, path=request.url.path, error=error.message)
        response = respond(error)
        response.headers.update(rate_headers(request.scope.get(RATE)))
        return response
    if isinstance(error, ValidationError):
        return invalid_body(error)
    logger().error("unexpected error", path=request.url.path, exc_info=error)
    return json_response(
        error_body("internal", "something went wrong on our side; the trace id finds it in the server's log"), 500
    )
