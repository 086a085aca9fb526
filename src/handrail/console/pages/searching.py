"""Searching in what was said: the conversations that have the words, each with the text around them.

Words stand in the address, like every filter of the list. An identifier comes in the body of a form, and is in none.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from handrail.console.access import STAFF, Visitor, services_of
from handrail.console.asked import require_asked
from handrail.console.door import Door, Fields, last_of
from handrail.console.pages.conversations import FILTERS, OUTCOME_NAMES, behind_of, chosen_of, filters_of, listed
from handrail.console.rendering import Renderer
from handrail.core.clock import iso
from handrail.core.errors import UsageError
from handrail.flows.pseudonyms import named
from handrail.flows.ranges import RANGE_NAMES
from handrail.flows.search import Found, search_identifier, search_words
from handrail.flows.services import Services
from handrail.insight.search import Waiting
from handrail.protection.auth import PermissionDenied, Scope
from handrail.reports.conversations import ConversationFilters, these

PLACE = "/console/conversations/search"
SHOWN = 25
MOST_SOUGHT = 500
# It waits until a conversation is quiet; only what takes longer is worth a word.
LATE_MICROS = 180 * 1_000_000

_Search = Callable[[ConversationFilters, str | None], Awaitable[Found]]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page for both; who may not search for identifiers sees no field for them."""

    renderer: Renderer

    async def words(self, request: Request, visitor: Visitor) -> Response:
        given = dict(request.query_params)
        text, services = given.get("q", "")[:MOST_SOUGHT].replace("\0", " "), services_of(request)

        async def search(filters: ConversationFilters, cursor: str | None) -> Found:
            return await search_words(services, visitor.principal, filters, text, cursor=cursor, limit=SHOWN)

        return await self._answer(request, visitor, given, search, text=text)

    async def identifier(self, request: Request, visitor: Visitor, fields: Fields) -> Response:
        given = {name: last_of(fields, name) for name in fields}
        value, services = given.pop("identifier", "")[:MOST_SOUGHT], services_of(request)

        async def search(filters: ConversationFilters, cursor: str | None) -> Found:
            return await search_identifier(services, visitor.principal, filters, value, cursor=cursor, limit=SHOWN)

        return await self._answer(request, visitor, given, search, identifier=value)

    async def _answer(
        self, request: Request, visitor: Visitor, given: Mapping[str, str], search: _Search, **sought: str
    ) -> Response:
        services, error = services_of(request), None
        try:
            if "text" in sought:
                # A form in the body has more than filters.
                require_asked(given, FILTERS)
            filters = filters_of(visitor.principal.tenant_id, services.clock.micros(), given)
            found = await search(await named(services, filters), given.get("cursor") or None)
        except PermissionDenied as refused:
            return self._refused(visitor, refused)
        except UsageError as wrong:
            error, given = f"{wrong.message}.", {}
            found = Found((), None, 0, is_cut=False, waiting=Waiting())
        chosen = chosen_of(given)
        text, identifier = sought.get("text", ""), sought.get("identifier", "")
        return self.renderer.page(
            "search.html",
            current="conversations",
            visitor=visitor,
            status=422 if error else 200,
            error=error,
            hits=await _hits(services, visitor.principal.tenant_id, found),
            says=_says(found, identifier=identifier),
            late=_late(found.waiting, services.clock.micros()),
            has_identifier=found.has_identifier and not found.hits,
            text=text,
            identifier=identifier,
            behind=behind_of(given),
            chosen=chosen,
            ranges=RANGE_NAMES,
            outcomes=OUTCOME_NAMES,
            query=urlencode(chosen),
            onward=found.next_cursor
            and (urlencode(chosen | {"q": text, "cursor": found.next_cursor}), found.next_cursor),
        )

    def _refused(self, visitor: Visitor, refused: PermissionDenied) -> Response:
        reason = f"{refused.message[:1].upper()}{refused.message[1:]}."
        return self.renderer.page(
            "message.html",
            current="conversations",
            visitor=visitor,
            status=403,
            title="This is not yours to search",
            reason=reason,
        )


async def _hits(services: Services, tenant_id: str, found: Found) -> Sequence[Mapping[str, Any]]:
    lines = {
        each.conversation_id: listed(each)
        for each in await these(services.db, tenant_id, [hit.conversation_id for hit in found.hits])
    }
    return [
        {"id": each.conversation_id, "line": lines.get(each.conversation_id), "parts": each.parts}
        for each in found.hits
    ]


def _says(found: Found, *, identifier: str) -> str:
    """What was looked for and what came of it, in words."""
    if identifier:
        sought = "for an identifier"
    else:
        phrases = [f'"{" ".join(each)}"' for each in found.query.phrases]
        sought = f"for {' and '.join([*found.query.plain, *phrases])}" if found.query.words else "for no word"
    parts = [f"Searched {sought}"]
    if found.query.left_out and not identifier:
        parts.append(
            f"left out {', '.join(map(repr, found.query.left_out[:5]))}: too short, or in nearly every conversation"
        )
    if found.is_cut:
        parts.append(f"{found.opened} conversations were opened; older ones come on the next page")
    return "; ".join(parts)


def _late(waiting: Waiting, now: int) -> str:
    if waiting.since is None or now - waiting.since < LATE_MICROS:
        return ""
    # What waits for long may have been said long before: all of it that was there when the index was begun.
    return (
        f"{waiting.count} {'conversation is' if waiting.count == 1 else 'conversations are'} not in the index with all "
        f"that was said, some of it since {iso(waiting.since)[:16].replace('T', ' ')} UTC; look again in a while"
    )


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    """Before the page of one conversation, whose address it would be otherwise."""
    page, door = SearchPage(renderer), Door(renderer)
    shown = door.shows("conversations", page.words, Scope.INSIGHT_READ, *STAFF)
    taken = door.takes("conversations", page.identifier, Scope.PERSONAL_READ, *STAFF)
    app.add_route(PLACE, shown, include_in_schema=False)
    app.add_route(PLACE, taken, methods=["POST"], include_in_schema=False)
