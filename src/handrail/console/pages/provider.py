"""Signing in at the deployment's identity provider: there and back."""

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from handrail.console.access import give_cookie, give_visit, services_of, take_visit, visit_of
from handrail.console.door import sign_in_page
from handrail.console.pages.sign_in import end_earlier, note, onward_of, source_of, status_of
from handrail.console.rendering import Renderer
from handrail.core.errors import HandrailError, NotFound
from handrail.core.principal import Principal
from handrail.flows.services import Services
from handrail.flows.sign_in import SignedIn, sign_in_by_provider
from handrail.protection.auth import IdentityProvider, Unauthenticated, Visit

WAY = "/console/sign-in/provider"


@dataclass(frozen=True, slots=True)
class ProviderPages:
    """The pages' routes."""

    renderer: Renderer

    async def leave(self, request: Request) -> Response:
        """Send the browser to the provider; what it keeps meanwhile is a cookie."""
        services = services_of(request)
        visit = Visit.begin(services.clock.micros() // 1_000_000, onward_of(request.query_params.get("next", "")))
        try:
            await services.sign_in_rates.require(Principal("", source_of(request)))
            response = RedirectResponse(await _provider_of(services).address(visit), 303)
        except HandrailError as error:
            return self._refused(request, error, visit.onward)
        give_visit(request, response, visit)
        return response

    async def come_back(self, request: Request) -> Response:
        """Sign in who comes back; a session that was there before ends."""
        services = services_of(request)
        visit = visit_of(request, services.clock.micros() // 1_000_000)
        try:
            signed_in = await _signed_in(services, visit, request)
        except HandrailError as error:
            response = self._refused(request, error, onward_of("" if visit is None else visit.onward))
        else:
            await end_earlier(request)
            response = RedirectResponse(onward_of("" if visit is None else visit.onward), 303)
            give_cookie(request, response, signed_in)
        take_visit(request, response)
        return response

    def _refused(self, request: Request, error: HandrailError, onward: str) -> Response:
        note(services_of(request), error, f"route:GET|{WAY}")
        return sign_in_page(self.renderer, request, onward=onward, status=status_of(error), error=f"{error.message}.")


def _provider_of(services: Services) -> IdentityProvider:
    if services.provider is None:
        raise NotFound("this server has no identity provider; sign in with an API key")
    return services.provider


async def _signed_in(services: Services, visit: Visit | None, request: Request) -> SignedIn:
    await services.sign_in_rates.require(Principal("", source_of(request)))
    provider = _provider_of(services)
    answer: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in answer:
            raise Unauthenticated(f"the answer of {provider.name} says {name!r} twice; begin again")
        answer[name[:40]] = value
    if visit is None:
        raise Unauthenticated("this browser began no attempt to sign in, or more than ten minutes ago; begin again")
    return await sign_in_by_provider(services, provider, visit, answer)


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    pages = ProviderPages(renderer)
    app.add_route(WAY, pages.leave, include_in_schema=False)
    app.add_route(f"{WAY}/callback", pages.come_back, include_in_schema=False)
