"""Who looks at a page, and whether a form came from one of ours."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from handrail.core.principal import Principal, Role
from handrail.db import StoreUnavailable
from handrail.flows.services import Services
from handrail.flows.sign_in import SignedIn
from handrail.protection.auth import Scope, Session, Unauthenticated, Visit, reads_personal_data

VISIT_SECONDS = 600
STAFF = (Role.VIEWER, Role.REVIEWER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page; without a session it is the operator at this machine, while there are no keys."""

    principal: Principal
    session: Session | None = None

    @property
    def runs_jobs(self) -> bool:
        """Whether they may ask for a run of a job."""
        return self._may(Scope.JOBS_WRITE, Role.OPERATOR, Role.ADMIN)

    @property
    def switches(self) -> bool:
        """Whether they may switch off and on."""
        return self._may(Scope.SWITCHES_WRITE, Role.OPERATOR, Role.ADMIN)

    @property
    def keeps_baselines(self) -> bool:
        """Whether they may keep a baseline."""
        return self._may(Scope.INSIGHT_WRITE, Role.OPERATOR, Role.ADMIN)

    @property
    def looks_after_alerts(self) -> bool:
        """Whether they may acknowledge and silence."""
        return self._may(Scope.ALERTS_WRITE, Role.OPERATOR, Role.ADMIN)

    @property
    def sees_alerts(self) -> bool:
        """Whether they may know what fires."""
        return self._may(Scope.ALERTS_READ, *STAFF)

    @property
    def sees_budgets(self) -> bool:
        """Whether they may know what is spent of the budgets."""
        return self._may(Scope.USAGE_READ, Role.OPERATOR, Role.ADMIN)

    @property
    def reads_feedback(self) -> bool:
        """Whether they may know what users said of conversations."""
        return self._may(Scope.FEEDBACK_READ, *STAFF)

    @property
    def searches(self) -> bool:
        """Whether they may look for what was said."""
        return self._may(Scope.INSIGHT_READ, *STAFF) and self._may(Scope.CONVERSATIONS_READ, *STAFF)

    @property
    def searches_identifiers(self) -> bool:
        """Whether they may look for an e-mail address, a card number, ..."""
        return self.searches and reads_personal_data(self.principal)

    @property
    def gives_feedback(self) -> bool:
        """Whether they may say something of others' conversations."""
        return self._may(Scope.FEEDBACK_WRITE, Role.REVIEWER, Role.OPERATOR, Role.ADMIN)

    def _may(self, scope: Scope, *roles: Role) -> bool:
        principal = self.principal
        return principal.has_role(*roles) and (not principal.scopes or scope in principal.scopes)

    @property
    def roles(self) -> str:
        return ", ".join(sorted(role.value for role in self.principal.roles))


def services_of(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def customer_of(request: Request) -> Principal | None:
    """The principal that a page without a key stands for: the local demo customer, or nobody once keys exist."""
    try:
        return await services_of(request).authenticator.authenticate(None, loopback=_is_local(request))
    except Unauthenticated:
        return None


async def visitor_of(request: Request) -> Visitor | None:
    """Who looks at the page: by the cookie of a session once keys exist, and never by a key."""
    services = services_of(request)
    try:
        local = await services.authenticator.authenticate(None, loopback=_is_local(request), surface="console")
    except Unauthenticated:
        session = await services.sessions.find(request.cookies.get(_cookie_name(request), ""))
        return None if session is None else Visitor(session.principal, session)
    return Visitor(local)


async def visitor_of_open_page(request: Request) -> Visitor | None:
    """The same for a page that is for everybody, and must show itself while the database is down."""
    try:
        return await visitor_of(request)
    except StoreUnavailable:
        return None


def is_same_origin(request: Request) -> bool:
    """Whether a form post came from our own page: what the browser says first, else its Origin; neither is a no."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("origin") == f"{request.url.scheme}://{request.headers.get('host')}"


def give_cookie(request: Request, response: Response, signed_in: SignedIn) -> None:
    """Let the browser keep the session: for this host alone, out of reach of scripts, and not for forms of others."""
    lasts = (signed_in.session.expires_at - signed_in.session.created_at) // 1_000_000
    response.set_cookie(
        _cookie_name(request),
        signed_in.cookie,
        max_age=lasts,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def give_visit(request: Request, response: Response, visit: Visit) -> None:
    """Let the browser keep what it needs when it comes back from the identity provider."""
    response.set_cookie(
        _visit_name(request),
        visit.cookie,
        max_age=VISIT_SECONDS,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def visit_of(request: Request, now: int) -> Visit | None:
    """The visit that this browser is on."""
    return Visit.of(request.cookies.get(_visit_name(request), ""), now)


def take_visit(request: Request, response: Response) -> None:
    """It is over, however it ended."""
    secure = request.url.scheme == "https"
    response.delete_cookie(_visit_name(request), path="/", secure=secure, httponly=True, samesite="lax")


def take_cookie(request: Request, response: Response) -> None:
    """Let the browser forget the session."""
    secure = request.url.scheme == "https"
    response.delete_cookie(_cookie_name(request), path="/", secure=secure, httponly=True, samesite="lax")


def _cookie_name(request: Request) -> str:
    # Under this prefix browsers take the cookie from this very host only, and only over TLS.
    return "__Host-handrail" if request.url.scheme == "https" else "handrail"


def _visit_name(request: Request) -> str:
    return f"{_cookie_name(request)}-visit"


def _is_local(request: Request) -> bool:
    client = request.client
    return client is not None and client.host in ("127.0.0.1", "::1")
