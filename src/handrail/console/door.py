"""The one door of every page that is not for everybody: signed in, in a role, and with a form of ours."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from handrail.console.access import Visitor, is_same_origin, services_of, visitor_of
from handrail.console.rendering import Renderer
from handrail.core.principal import Role
from handrail.flows.audit import denied
from handrail.protection.auth import PermissionDenied, Scope, require_role, require_scope

MOST_FORM_BYTES = 128 * 1024

Fields = Mapping[str, list[str]]
Page = Callable[[Request, Visitor], Awaitable[Response]]
FormPage = Callable[[Request, Visitor, Fields], Awaitable[Response]]
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Door:
    """Wraps a page's handler; `place` is the page's name in the navigation."""

    renderer: Renderer

    def shows(self, place: str, page: Page, scope: Scope | None, *roles: Role) -> Handler:
        """A page for those in one of the roles; whoever came in by a key with scopes needs this one."""

        async def show(request: Request) -> Response:
            visitor = await self._visitor(request, place, scope, roles)
            return visitor if isinstance(visitor, Response) else await page(request, visitor)

        return show

    def takes(self, place: str, form: FormPage, scope: Scope | None, *roles: Role) -> Handler:
        """A form of our own pages, sent by those in one of the roles. Its fields come without the character zero."""

        async def take(request: Request) -> Response:
            if (refused := foreign_form(self.renderer, request, place)) is not None:
                return refused
            visitor = await self._visitor(request, place, scope, roles)
            if isinstance(visitor, Response):
                return visitor
            fields = await fields_of(request)
            if fields is None:
                return too_long(self.renderer, place)
            return await form(request, visitor, fields)

        return take

    async def _visitor(
        self, request: Request, place: str, scope: Scope | None, roles: tuple[Role, ...]
    ) -> Visitor | Response:
        visitor = await visitor_of(request)
        refusal = _refusal(visitor, scope, roles)
        if visitor is not None and refusal is None:
            return visitor
        code = "unauthenticated" if visitor is None else "permission_denied"
        principal = visitor.principal if visitor else None
        denied(services_of(request), principal, f"route:{request.method}|/console/{place}", code)
        if visitor is None:
            return sign_in_page(self.renderer, request, onward=f"/console/{place}", status=401)
        return self.renderer.page(
            "message.html",
            current=place,
            visitor=visitor,
            status=403,
            title="This is not yours to do",
            reason=f"{refusal}.",
        )


def _refusal(visitor: Visitor | None, scope: Scope | None, roles: tuple[Role, ...]) -> str | None:
    """Why they may not, in words; None when they may."""
    if visitor is None:
        return "Nobody is signed in"
    try:
        require_role(visitor.principal, *roles)
        if scope is not None:
            require_scope(visitor.principal, scope)
    except PermissionDenied as refused:
        return refused.message[:1].upper() + refused.message[1:]
    return None


def sign_in_page(
    renderer: Renderer,
    request: Request,
    *,
    onward: str,
    status: int = 200,
    error: str | None = None,
    link: str | None = None,
) -> Response:
    """The page that asks who one is; `onward` is where it leads afterwards."""
    provider = services_of(request).provider
    name = None if provider is None else provider.name
    return renderer.page(
        "sign_in.html", current="sign-in", status=status, onward=onward, error=error, link=link, provider=name
    )


def foreign_form(renderer: Renderer, request: Request, place: str) -> Response | None:
    """The refusal of a form that none of our own pages sent."""
    if is_same_origin(request):
        return None
    reason = "Open the page here and send it again."
    title = "This form did not come from this page"
    return renderer.page("message.html", current=place, status=403, title=title, reason=reason)


async def fields_of(request: Request) -> Fields | None:
    """The fields of a form; None when it is too long."""
    body = await request.body()
    if len(body) > MOST_FORM_BYTES:
        return None
    # PostgreSQL takes the character zero in no text.
    return parse_qs(body.decode(errors="replace").replace("%00", "").replace("\0", ""))


def too_long(renderer: Renderer, place: str) -> Response:
    reason = f"A form has at most {MOST_FORM_BYTES} bytes."
    return renderer.page("message.html", current=place, status=413, title="That is too long", reason=reason)


def last_of(fields: Fields, name: str) -> str:
    """The last value of a field, or nothing."""
    return fields.get(name, [""])[-1]
