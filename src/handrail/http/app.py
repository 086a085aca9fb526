"""The application: routes, one error table, one guard."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

import handrail
from handrail.console import FailurePage, mount
from handrail.core.errors import HandrailError
from handrail.flows.services import Services
from handrail.http import errors, websocket
from handrail.http.edge import Edge
from handrail.http.followers import MOST_A_PRINCIPAL, MOST_A_TENANT, Followers
from handrail.http.guard import MOST_OPEN, Guard
from handrail.http.hot_path import HotPath
from handrail.http.openapi import finished
from handrail.http.routes import (
    agents,
    alerts,
    approvals,
    audit,
    chat_completions,
    conversations,
    costs,
    dashboard,
    delegations,
    feedback,
    health,
    jobs,
    keys,
    privacy,
    releases,
    scorecard,
    search,
    switches,
    traces,
    usage,
)

_ROUTES = (
    search,
    conversations,
    chat_completions,
    agents,
    approvals,
    delegations,
    releases,
    scorecard,
    costs,
    dashboard,
    traces,
    switches,
    alerts,
    jobs,
    keys,
    audit,
    privacy,
    feedback,
    usage,
    health,
    websocket,
)
Handler = Callable[[Request, Exception], Awaitable[Response]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    services: Services,
    *,
    port: int,
    most_open: int = MOST_OPEN,
    edge: Edge | None = None,
    most_followers: int = MOST_A_TENANT,
    most_streams: int = MOST_A_PRINCIPAL,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The ASGI application over `services`, which the caller opens and closes (or `lifespan` does)."""
    app = _Application(
        title="Handrail",
        version=handrail.__version__,
        description="Talk to an agent, follow its turns, and run it safely.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan or _nothing,
    )
    app.state.services = services
    app.state.port = port
    app.state.most_open = most_open
    app.state.edge = edge or Edge()
    app.state.large_bodies = asyncio.Semaphore(LARGE_BODIES)
    app.state.followers = Followers(most_followers, most_streams)
    for module in _ROUTES:
        app.include_router(module.router)
    failure = mount(app)
    for kind in (HandrailError, ValidationError, Exception):
        app.add_exception_handler(kind, _shown(errors.handle, failure))
    app.add_exception_handler(HTTPException, _shown(_http_error, failure))
    app.add_exception_handler(RequestValidationError, _request_error)
    return app


def _shown(handle: Handler, failure: FailurePage) -> Handler:
    """The handler, with a page for a browser that asked for one."""

    async def show(request: Request, error: Exception) -> Response:
        return failure.instead_of(request, await handle(request, error))

    return show


# Bodies of 100,000 bytes and more that are read at once.
LARGE_BODIES = 16


class _Application(FastAPI):
    """FastAPI behind our guard, with the hot path before its layers."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = finished(super().openapi())
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        services: Services = self.state.services
        app = HotPath(super().build_middleware_stack())
        port, most_open, edge = self.state.port, self.state.most_open, self.state.edge
        return Guard(app, port, lambda: services.authenticator.has_keys, most_open, edge, rates=services.address_rates)


@asynccontextmanager
async def _nothing(_app: FastAPI) -> AsyncGenerator[None]:
    yield


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return errors.json_response(
        errors.error_body(code, str(error.detail), status=error.status_code), error.status_code, error.headers
    )


async def _request_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"])
    return errors.json_response(errors.error_body("invalid_body", f"{param}: {first['msg']}", param=param), 422)
