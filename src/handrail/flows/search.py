"""The story of a search: the index names conversations, each is opened to be sure, and the search is on record.

Words are looked for in what staff without more rights may read, identifiers only by who may read them; neither stands
in the record, in a log or in an answer's address.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from handrail.core.errors import UsageError
from handrail.core.principal import Principal, Role
from handrail.flows.audit import searched_by_staff
from handrail.flows.services import Services
from handrail.insight.search import Part, Query, Waiting, around, first_match, form_of, is_same, query_of
from handrail.protection.auth import PermissionDenied, Scope, reads_personal_data, require_scope
from handrail.protection.privacy import LOOK_ALIKE, Token
from handrail.reports.conversations import ConversationFilters
from handrail.reports.search import candidates, fitting, texts

# So many conversations are opened for one answer. Nearly all that the index names are right, but for phrases.
MOST_OPENED = 200

_Look = Callable[[str, Sequence[str]], Sequence[Part] | None]


@dataclass(frozen=True, slots=True)
class Hit:
    """A conversation in which it stands, and the text around it."""

    conversation_id: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        next_cursor: gives what is older, where there may be more.
        opened: so many conversations were looked at.
        is_cut: there is more to look at than one answer does.
        waiting: what is not in the index yet.
        has_identifier: something in the words has the form of an identifier, which no word is.
    """

    hits: Sequence[Hit]
    next_cursor: str | None
    opened: int
    is_cut: bool
    waiting: Waiting
    query: Query = field(default_factory=Query)
    has_identifier: bool = False


async def search_words(
    services: Services,
    reader: Principal,
    filters: ConversationFilters,
    text: str,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Found:
    """Conversations in which all of these words stand, and each phrase in one message; the newest first.

    Raises:
        PermissionDenied: the reader is narrowed to scopes without `conversations:read`.
        InvalidCursor: the cursor is none of this list's.
    """
    require_scope(reader, Scope.CONVERSATIONS_READ)
    query = query_of(text)
    key = await services.search.keys.of(filters.tenant_id)

    def look(conversation_id: str, said: Sequence[str]) -> Sequence[Part] | None:
        tokens = services.privacy.tokens(filters.tenant_id, conversation_id)
        return first_match([tokens.hide_all(each) for each in said], query)

    found = await _search(services, filters, [key.word(each) for each in query.words], look, cursor, limit)
    _record(services, reader, "words", found)
    has_identifier = any(services.privacy.finder.find(text[:500]))
    return replace(found, query=query, has_identifier=has_identifier)


async def search_identifier(
    services: Services,
    reader: Principal,
    filters: ConversationFilters,
    value: str,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Found:
    """Conversations in which this e-mail address, phone, card, IBAN, ... stands, however it is written.

    Raises:
        PermissionDenied: the reader may not read identifiers.
        UsageError: the value has no letter and no digit.
        InvalidCursor: the cursor is none of this list's.
    """
    require_scope(reader, Scope.CONVERSATIONS_READ)
    if not reads_personal_data(reader):
        raise PermissionDenied(f"to search for identifiers {reader.subject!r} needs the scope 'personal:read'")
    if not (form := form_of(value)):
        raise UsageError("nothing to search for; an identifier has letters or digits", param="identifier")
    key = await services.search.keys.of(filters.tenant_id)

    def look(conversation_id: str, said: Sequence[str]) -> Sequence[Part] | None:
        tokens = services.privacy.tokens(filters.tenant_id, conversation_id)
        shown = [tokens.hide_all(each) for each in said]
        same = [each for each in tokens.take_fresh() if _is_it(each, value)]
        return _around(shown, same)

    found = await _search(services, filters, [key.identifier(form)], look, cursor, limit)
    _record(services, reader, "identifier", found)
    return found


def _is_it(token: Token, wanted: str) -> bool:
    return token.kind != LOOK_ALIKE and is_same(token.kind, token.value, wanted)


def _around(shown: Sequence[str], same: Sequence[Token]) -> Sequence[Part] | None:
    """The text around the handle that stands for it: the value itself is nowhere in an answer."""
    for text in shown:
        for token in same:
            if (start := text.find(token.handle)) >= 0:
                place = (start, start + len(token.handle))
                return around(text, [place], [place])
    return None


async def _search(
    services: Services, filters: ConversationFilters, words: Sequence[str], look: _Look, cursor: str | None, limit: int
) -> Found:
    waiting = await services.search.lag(filters.tenant_id)
    hits: list[Hit] = []
    opened, goes_on = 0, bool(words)
    while goes_on and len(hits) < limit and opened < MOST_OPENED:
        page = await candidates(services.db, filters, words, cursor=cursor, limit=limit + 1)
        goes_on, page = len(page) > limit, page[:limit]
        said = await texts(services.db, await fitting(services.db, filters, page))
        # So many texts take a while, and turns go on meanwhile.
        seen = await asyncio.to_thread(_looked_at, said, look)
        for number, each in enumerate(page):
            opened, cursor = opened + 1, each.cursor
            if (parts := seen.get(each.conversation_id)) is not None:
                hits.append(Hit(each.conversation_id, parts))
            if len(hits) == limit:
                goes_on = goes_on or number < len(page) - 1
                break
    is_cut = goes_on and len(hits) < limit
    return Found(hits, cursor if goes_on else None, opened, is_cut, waiting)


def _looked_at(said: Mapping[str, Sequence[str]], look: _Look) -> Mapping[str, Sequence[Part] | None]:
    return {conversation_id: look(conversation_id, texts) for conversation_id, texts in said.items()}


def _record(services: Services, reader: Principal, by: str, found: Found) -> None:
    if reader.roles - {Role.END_USER}:
        searched_by_staff(services, reader, by, len(found.hits))
