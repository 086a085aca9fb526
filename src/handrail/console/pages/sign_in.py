"""Signing in and out, and the page that says who one is and where one is signed in."""

import re
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import STAFF, Visitor, give_cookie, services_of, take_cookie, visitor_of
from handrail.console.door import (
    Door,
    Fields,
    fields_of,
    foreign_form,
    last_of,
    sign_in_page,
    too_long,
)
from handrail.console.rendering import Renderer
from handrail.core import addresses
from handrail.core.clock import iso
from handrail.core.errors import HandrailError, NotFound
from handrail.core.principal import Principal
from handrail.flows.audit import denied
from handrail.flows.services import Services
from handrail.flows.sign_in import SignedIn, end_session, sessions_of, sign_in_by_key, sign_in_by_link, sign_out
from handrail.protection.auth import PermissionDenied, Session, Unauthenticated
from handrail.protection.rate_limits import RateLimited

HOME = "/console/approvals"
# Only ever a page of this console: another address would make of the sign-in page a trap that carries our name.
ONWARD = re.compile(r"/console/[A-Za-z0-9_/-]{0,160}")


@dataclass(frozen=True, slots=True)
class SignInPages:
    """The pages' routes."""

    renderer: Renderer

    async def show(self, request: Request) -> Response:
        """The form. A link is used by its button and not by opening it: mail programs look at links."""
        visitor = await visitor_of(request)
        onward = onward_of(request.query_params.get("next", ""))
        link = request.query_params.get("link")
        if visitor is not None and link is None:
            return RedirectResponse(onward, 303)
        if link is not None and await services_of(request).links.find(link) is None:
            text = "This link was used, or is older than ten minutes. Get a new one with `handrail keys link`."
            return sign_in_page(self.renderer, request, onward=onward, status=401, error=text)
        return sign_in_page(self.renderer, request, onward=onward, link=link)

    async def post(self, request: Request) -> Response:
        """Sign in by a key or a link; a session that was there before ends."""
        if (refused := foreign_form(self.renderer, request, "sign-in")) is not None:
            return refused
        fields = await fields_of(request)
        if fields is None:
            return too_long(self.renderer, "sign-in")
        onward = onward_of(last_of(fields, "next"))
        try:
            signed_in = await _signed_in(services_of(request), source_of(request), fields)
        except HandrailError as error:
            note(services_of(request), error, "route:POST|/console/sign-in")
            return sign_in_page(
                self.renderer, request, onward=onward, status=status_of(error), error=f"{error.message}."
            )
        await end_earlier(request)
        response = RedirectResponse(onward, 303)
        give_cookie(request, response, signed_in)
        return response

    async def sign_out(self, request: Request, visitor: Visitor, _fields: Fields) -> Response:
        if visitor.session is not None:
            await sign_out(services_of(request), visitor.principal, visitor.session)
        response = RedirectResponse("/console/sign-in", 303)
        take_cookie(request, response)
        return response

    async def account(self, request: Request, visitor: Visitor) -> Response:
        return await self._account(request, visitor)

    async def end(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        """End one of the sessions on the page."""
        session_id = last_of(fields, "session")
        if visitor.session is not None and session_id == visitor.session.id:
            return await self.sign_out(request, visitor, fields)
        try:
            await end_session(services_of(request), visitor.principal, session_id)
        except NotFound as error:
            return await self._account(request, visitor, f"{error.message}.", 404)
        return RedirectResponse("/console/account", 303)

    async def _account(
        self, request: Request, visitor: Visitor, error: str | None = None, status: int = 200
    ) -> Response:
        sessions = await sessions_of(services_of(request), visitor.principal)
        return self.renderer.page(
            "account.html",
            current="account",
            visitor=visitor,
            status=status,
            sessions=[_line(each, visitor) for each in sessions],
            scopes=sorted(visitor.principal.scopes),
            teams=sorted(visitor.principal.teams),
            error=error,
        )


def onward_of(wanted: str) -> str:
    """Where to go after signing in: a page of this console, whatever was asked for."""
    return wanted if ONWARD.fullmatch(wanted) and not wanted.startswith("/console/sign-in") else HOME


def source_of(request: Request) -> str:
    """The address that attempts are counted by; of IPv6 the part that one network is given."""
    return addresses.source_of(request.client.host) if request.client else ""


async def _signed_in(services: Services, source: str, fields: Fields) -> SignedIn:
    await services.sign_in_rates.require(Principal("", source))
    link = last_of(fields, "link")
    return await (sign_in_by_link(services, link) if link else sign_in_by_key(services, last_of(fields, "key").strip()))


async def end_earlier(request: Request) -> None:
    """End the session that the browser had before it signed in anew."""
    before = await visitor_of(request)
    if before is not None and before.session is not None:
        await sign_out(services_of(request), before.principal, before.session)


def note(services: Services, error: HandrailError, route: str) -> None:
    """Put a refusal on record, and count it."""
    if isinstance(error, Unauthenticated | PermissionDenied):
        denied(services, None, route, error.code)
    elif isinstance(error, RateLimited):
        services.metrics.refused_by_rate("sign-ins")


def status_of(error: HandrailError) -> int:
    """The status of the sign-in page that says why not."""
    statuses: dict[type[HandrailError], int] = {
        Unauthenticated: 401,
        PermissionDenied: 403,
        NotFound: 404,
        RateLimited: 429,
    }
    return statuses.get(type(error), 503)


def _minute(at: int) -> str:
    return f"{iso(at)[:16].replace('T', ' ')} UTC"


def _way(key_id: str) -> str:
    return "a one-time link" if key_id.startswith("link_") else key_id.removeprefix("oidc:")


def _line(session: Session, visitor: Visitor) -> dict[str, Any]:
    return {
        "id": session.id,
        "subject": session.subject,
        "roles": ", ".join(sorted(role.value for role in session.roles)),
        "way": _way(session.key_id),
        "began": _minute(session.created_at),
        "seen": _minute(session.seen_at),
        "ends": _minute(session.expires_at),
        "is_this": visitor.session is not None and session.id == visitor.session.id,
    }


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    pages, door = SignInPages(renderer), Door(renderer)
    app.add_route("/console/sign-in", pages.show, include_in_schema=False)
    app.add_route("/console/sign-in", pages.post, methods=["POST"], include_in_schema=False)
    out = door.takes("account", pages.sign_out, None, *STAFF)
    app.add_route("/console/sign-out", out, methods=["POST"], include_in_schema=False)
    app.add_route("/console/account", door.shows("account", pages.account, None, *STAFF), include_in_schema=False)
    end = door.takes("account", pages.end, None, *STAFF)
    app.add_route("/console/account/sessions", end, methods=["POST"], include_in_schema=False)
