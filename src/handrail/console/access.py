"""Who looks at a page, and whether a form came from one of ours."""

from typing import cast

from starlette.requests import Request

from handrail.core.principal import Principal
from handrail.flows.services import Services
from handrail.protection.auth import Unauthenticated


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def customer_of(request: Request) -> Principal | None:
    """The principal that a page without a key stands for: the local demo customer, or nobody once keys exist."""
    client = request.client
    loopback = client is not None and client.host in ("127.0.0.1", "::1")
    try:
        return await services_of(request).authenticator.authenticate(None, loopback=loopback)
    except Unauthenticated:
        return None


async def operator_of(request: Request) -> Principal | None:
    """The operator at this machine, or nobody once keys exist: signing in is not there yet."""
    client = request.client
    loopback = client is not None and client.host in ("127.0.0.1", "::1")
    try:
        authenticator = services_of(request).authenticator
        return await authenticator.authenticate(None, loopback=loopback, surface="console")
    except Unauthenticated:
        return None


def is_same_origin(request: Request) -> bool:
    """Whether a form post came from our own page: what the browser says first, else its Origin; neither is a no."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("origin") == f"{request.url.scheme}://{request.headers.get('host')}"
