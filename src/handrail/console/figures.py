"""What the pages of figures have in common: what their address asks for, and the same figures as a file."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request

from handrail.console.access import Visitor, services_of
from handrail.console.asked import require_asked
from handrail.core.errors import NotFound
from handrail.flows.audit import insight_exported
from handrail.flows.dashboard import filters_of
from handrail.flows.known import require_known, unknown_name
from handrail.flows.services import Services
from handrail.reports.filters import NARROWS, Filters

Body = Mapping[str, Any]
Figures = Callable[[Services, Filters], Awaitable[Body]]
FILTERS = ("range", *NARROWS)


def filters_asked(tenant_id: str, now: int, given: Mapping[str, str]) -> Filters:
    """Raises `UsageError` for what no page of figures has, and for what is no value of it."""
    require_asked(given, FILTERS)
    return filters_of(tenant_id, now, given)


async def unknown_in(services: Services, filters: Filters, *, is_empty: bool) -> NotFound | None:
    """What the filters name and nothing has; found out only where there is nothing to show."""
    if not is_empty:
        return None
    return await unknown_name(services.db, services.releases, filters.tenant_id, filters.narrowed)


async def figures_of_file(request: Request, visitor: Visitor, figures: Figures, *, counts: str) -> Body:
    """The figures that a file asks for; without any under `counts`, a name that nothing has is `NotFound`."""
    services = services_of(request)
    require_asked(request.query_params, (*FILTERS, "table"))
    filters = filters_of(visitor.principal.tenant_id, services.clock.micros(), request.query_params)
    body = await figures(services, filters)
    if not body[counts]:
        await require_known(services.db, services.releases, filters.tenant_id, filters.narrowed)
    return body


def note_export(request: Request, visitor: Visitor, what: str) -> None:
    """Who took a file of it goes into the audit log."""
    services_of(request).audit.note(insight_exported(visitor.principal, what))
