"""The story of the index: what was counted is read, and what staff may read of it goes in, as nobody can read it.

Behind the counting, by the same process, some conversations at a time. What can't be read is left out and counted.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from handrail.db import Conflict
from handrail.flows.services import Services
from handrail.insight.search import Entry, Known, Pending, SearchKey, form_of, is_told, words_in
from handrail.protection.encryption import ContentUnreadable
from handrail.protection.privacy import LOOK_ALIKE, without_handles
from handrail.reports.search import Unread, texts, unread
from handrail.telemetry.logging import logger

PAGE = 50
# With pages a second of this many, reading a store of a million turns for the first time takes half an hour. While
# turns run there is one: a thread that reads texts takes the interpreter from them, for a hundredth of the time then.
MOST_PAGES = 4
# So long nothing is looked for where nothing waited.
IDLE_SECONDS = 10.0


@dataclass
class Indexer:
    """Reads what was said into the index; of each tenant it knows under which key that lies."""

    services: Services
    _checked: dict[str, str] = field(default_factory=dict[str, str])
    _has_begun: bool = False
    _idle_since: float | None = None

    @property
    def is_due(self) -> bool:
        """Nothing waits that was not counted here just before, but for what another process or an operator did."""
        return self._idle_since is None or self.services.clock.monotonic() - self._idle_since >= IDLE_SECONDS

    async def catch_up(self) -> int:
        """Read what waits, up to a bound; how many conversations were looked at."""
        services, total = self.services, 0
        if not self._has_begun:
            for tenant_id in await services.search.tenants():
                await self._key(tenant_id)
            self._has_begun = True
        waiting = await services.search.lag()
        most = 1 if services.running else MOST_PAGES
        for _ in range(most if waiting.count else 0):
            try:
                page = await self._page()
            except Conflict:
                # One of them was erased meanwhile: what is left is seen at the next look.
                page = 0
            total += page
            if page < PAGE or services.draining:
                break
            await asyncio.sleep(0)
        if total:
            waiting = await services.search.lag()
        lag = 0.0 if waiting.since is None else (services.clock.micros() - waiting.since) / 1e6
        services.metrics.indexed(total, waiting.count, lag)
        self._idle_since = None if waiting.count else services.clock.monotonic()
        return total

    async def _page(self) -> int:
        pending = await self.services.search.waiting(PAGE, now=self.services.clock.micros())
        if pending:
            await self._read(pending)
        return len(pending)

    async def _read(self, pending: Sequence[Pending]) -> None:
        """Together; and one by one when one of them can't be read, so that it keeps no other."""
        try:
            entries = await self._entries(pending)
        except (ContentUnreadable, ValueError, KeyError, TypeError) as error:
            if len(pending) > 1:
                for each in pending:
                    await self._read([each])
                return
            logger().error(
                "a conversation could not be indexed", conversation_id=pending[0].conversation_id, exc_info=error
            )
            self.services.metrics.not_indexed()
            entries = []
        async with self.services.db.batch(long=True) as batch:
            self.services.search.save(batch, entries, at=self.services.clock.micros())
            self.services.search.done(batch, pending)

    async def _entries(self, pending: Sequence[Pending]) -> Sequence[Entry]:
        services = self.services
        there = await unread(services.db, [each.conversation_id for each in pending])
        known = await services.search.known([each.conversation_id for each in there])
        keys = {tenant_id: await self._key(tenant_id) for tenant_id in {each.tenant_id for each in there}}
        new = [
            each
            for each in there
            if known.get(each.conversation_id) != Known(keys[each.tenant_id].name, each.read_to, each.filters)
        ]
        if not new:
            return []
        said = await texts(services.db, [each.conversation_id for each in new])
        return await asyncio.to_thread(_entries_of, services, new, said, keys)

    async def _key(self, tenant_id: str) -> SearchKey:
        """The tenant's key; what lies under another one is read again."""
        services = self.services
        key = await services.search.keys.of(tenant_id)
        if self._checked.get(tenant_id) != key.name:
            if await services.search.has_others(tenant_id, key.name):
                async with services.db.batch(long=True) as batch:
                    services.search.read_others_again(batch, tenant_id, key.name, at=services.clock.micros())
            self._checked[tenant_id] = key.name
        return key


def _entries_of(
    services: Services,
    conversations: Sequence[Unread],
    said: Mapping[str, Sequence[str]],
    keys: Mapping[str, SearchKey],
) -> Sequence[Entry]:
    return [_entry(services, each, said[each.conversation_id], keys[each.tenant_id]) for each in conversations]


def _entry(services: Services, of: Unread, said: Sequence[str], key: SearchKey) -> Entry:
    """What staff without more rights would read, word by word; and the identifiers that they would not."""
    tokens = services.privacy.tokens(of.tenant_id, of.conversation_id)
    shown = [tokens.hide_all(text) for text in said]
    words = (word.text for text in reversed(shown) for word in words_in(without_handles(text)) if is_told(word.text))
    forms = (form_of(each.value) for each in tokens.take_fresh() if each.kind != LOOK_ALIKE)
    entry = key.entry(words, (each for each in forms if each))
    return Entry(of.tenant_id, of.started_at, of.conversation_id, key.name, of.read_to, entry, of.filters)
