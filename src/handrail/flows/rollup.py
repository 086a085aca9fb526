"""The story of counting: what changed is read anew from the transcript, and the sums get the difference.

A turn leaves a note of its conversation. Once a second the process that has the lead takes a page of notes, judges
those conversations from their rows, and stores facts, sums and the end of the notes in one batch: a process that dies
in between has counted nothing, and what two count at the same time is stored once. No turn waits for it.
"""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from handrail.core.documents import ProjectError, parse_yaml, validate
from handrail.core.errors import HandrailError
from handrail.core.jobs import DEPLOYMENT, Task
from handrail.db import Conflict, StoreUnavailable
from handrail.flows.indexing import Indexer
from handrail.flows.keepers import every, tried
from handrail.flows.services import Services
from handrail.insight.scorecard import (
    DEFAULT_WINDOW_MICROS,
    Additions,
    Change,
    Place,
    StoredFact,
    Transcript,
    account,
    closed_without_words,
    contribution_of,
    counted,
    fact_of,
    intent_of,
    whole,
)
from handrail.reports.transcripts import transcripts
from handrail.serving.agents.schema import AgentConfig
from handrail.telemetry.logging import logger

EVERY_SECONDS = 1.0
LEAD_SECONDS = 5.0
# A page is worked off in some ten milliseconds; in between others have their turn.
PAGE = 100
MOST_CHANGES = 1000
AT_ONCE = 10
MOST_WINDOWS = 256
POSTPONED_MICROS = 24 * 3600 * 1_000_000
WHAT = "what is counted of conversations"

Window = Callable[[Transcript], Awaitable[int]]


@dataclass
class Windows:
    """For how long after its last turn a conversation may still turn out not to be resolved: its release says so."""

    services: Services
    _known: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict[tuple[str, str], int])

    async def of(self, transcript: Transcript) -> int:
        """In microseconds; the default when the release can't be read."""
        key = (transcript.tenant_id, transcript.release_id)
        if key not in self._known:
            self._known[key] = await self._read(*key)
            if len(self._known) > MOST_WINDOWS:
                self._known.popitem(last=False)
        return self._known[key]

    async def _read(self, tenant_id: str, release_id: str) -> int:
        try:
            sources = await self.services.releases.sources(tenant_id, release_id)
            config = validate(parse_yaml("agent.yaml", sources.text("agent.yaml")), AgentConfig)
        except (ProjectError, KeyError, HandrailError) as error:
            if isinstance(error, StoreUnavailable):
                raise
            return DEFAULT_WINDOW_MICROS
        return int(config.success.resolution_window_hours * 3600 * 1_000_000)


def keep(services: Services) -> "asyncio.Task[None]":
    """Count what changes for as long as this process lives; cancel the task to stop."""
    work = partial(_look, services, Windows(services).of, Indexer(services))
    return asyncio.get_running_loop().create_task(every(EVERY_SECONDS, work, WHAT))


async def _look(services: Services, window: Window, indexer: Indexer) -> None:
    """Count, then read what was counted into the index of what was said."""
    counted = await catch_up(services, window)
    if (counted or indexer.is_due) and not services.draining and await leads(services):
        await tried(indexer.catch_up, "the search index")


async def catch_up(services: Services, window: Window) -> int:
    """Count what waits and close what is over; how many conversations. Nothing, when another process leads.

    What comes meanwhile has time until the next second, unless a whole page of it waits.
    """
    total, page = 0, PAGE
    if not await services.facts.has_work(services.clock.micros()):
        services.metrics.counted(0, 0.0)
        return 0
    while page >= PAGE and not services.draining and await leads(services):
        try:
            page = await count_page(services, window)
        except Conflict:
            # Another process has counted some of them, or one was erased: what is left is seen at the next look.
            page = 0
        total += page
        await asyncio.sleep(0)
    since = await services.facts.waiting_since()
    services.metrics.counted(total, 0.0 if since is None else (services.clock.micros() - since) / 1e6)
    return total


async def count_page(services: Services, window: Window) -> int:
    """One page of what waits; how many conversations it had."""
    changes = await services.facts.waiting(MOST_CHANGES)
    ids = list(dict.fromkeys(each.conversation_id for each in changes))[:PAGE]
    named = set(ids)
    changes = [each for each in changes if each.conversation_id in named]
    if len(ids) < PAGE:
        due = await services.facts.due(services.clock.micros(), PAGE - len(ids))
        ids = list(dict.fromkeys([*ids, *due]))
    if ids:
        await _count_all(services, window, ids, changes)
    return len(ids)


async def count_of_subject(services: Services, tenant_id: str, subject: str) -> None:
    """Count now what waits of this user, before it is erased: the sums keep it. What can't be counted keeps nobody."""
    window, now, after = Windows(services).of, services.clock.micros(), ""
    while page := await services.background.subjects.page(tenant_id, subject, until=now, after=after):
        after = page[-1].id
        for conversation_id in await services.facts.noted([each.id for each in page]):
            await tried(partial(_count_all, services, window, [conversation_id], ()), WHAT)


async def _count_all(services: Services, window: Window, ids: Sequence[str], changes: Sequence[Change]) -> None:
    """Together; and one by one when some row of one of them can't be read, so that it keeps no other."""
    try:
        await _count(services, window, ids, changes)
    except (StoreUnavailable, Conflict):
        raise
    except (HandrailError, ValueError, KeyError, TypeError) as error:
        if len(ids) > 1:
            for conversation_id in ids:
                own = [each for each in changes if each.conversation_id == conversation_id]
                await _count_all(services, window, [conversation_id], own)
            return
        logger().error("a conversation could not be counted", conversation_id=ids[0], exc_info=error)
        services.metrics.not_counted()
        async with services.db.batch() as batch:
            services.facts.done(batch, changes)
            services.facts.postpone(batch, ids[0], until=services.clock.micros() + POSTPONED_MICROS)


async def _count(services: Services, window: Window, ids: Sequence[str], changes: Sequence[Change]) -> None:
    now = services.clock.micros()
    before = await services.facts.of(ids)
    told = await transcripts(services.db, ids)
    places = {key: _place(each) for key, each in told.items() if counted(each)}
    next_at, disturbed = await _neighbours(services, places, before)
    facts: list[StoredFact] = []
    added: Additions = {}
    for number, conversation_id in enumerate(ids):
        old, transcript = before.get(conversation_id), told.get(conversation_id)
        if transcript is None:
            new = _closed(old, now)
        else:
            new = _judged(transcript, old, await window(transcript), next_at.get(conversation_id), now)
        if new is not None:
            _account(added, old, -1)
            _account(added, new, 1)
            facts.append(new)
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
    async with services.db.batch(long=True) as batch:
        services.facts.save(batch, facts, added, at=now)
        services.facts.done(batch, changes)
        services.search.changed(batch, _said_in(changes, told), at=now)
        for tenant_id, conversation_id in sorted(disturbed):
            services.facts.changed(batch, tenant_id, conversation_id, at=now)


def _said_in(changes: Sequence[Change], told: Mapping[str, Transcript]) -> Mapping[str, str]:
    """By conversation that is there, the tenant: those in which something may have been said."""
    return {each.conversation_id: each.tenant_id for each in changes if each.conversation_id in told}


def _judged(
    transcript: Transcript, old: StoredFact | None, window: int, next_at: int | None, now: int
) -> StoredFact | None:
    fact = fact_of(transcript, window_micros=window, next_at=next_at, now=now)
    if fact is None:
        return None
    return StoredFact(fact, contribution_of(transcript, fact), old.version + 1 if old else 1)


def _closed(old: StoredFact | None, now: int) -> StoredFact | None:
    """A conversation whose rows are gone: nothing of it changes but that its window ends."""
    if old is None or old.fact.is_closed:
        return None
    fact = closed_without_words(old.fact, now)
    return StoredFact(fact, {**old.contribution, **whole(fact)}, old.version + 1)


def _account(added: Additions, stored: StoredFact | None, sign: int) -> None:
    if stored is not None:
        fact = stored.fact
        account(added, fact.tenant_id, fact.agent, fact.channel, stored.contribution, sign)


def _place(transcript: Transcript) -> Place:
    return Place(
        transcript.conversation_id,
        transcript.tenant_id,
        transcript.subject,
        transcript.agent,
        intent_of(transcript),
        transcript.created_at,
    )


async def _neighbours(
    services: Services, places: Mapping[str, Place], before: Mapping[str, StoredFact]
) -> tuple[Mapping[str, int | None], set[tuple[str, str]]]:
    """When the next conversation of each line began; and which conversations have got another one behind them."""
    old = {key: Place.of(each.fact) for key, each in before.items() if key in places}
    moved = {key for key, place in places.items() if old.get(key) != place}
    here = list(places.values())
    left = [old[key] for key in moved if key in old]
    if not here:
        return {}, set()
    found = await services.facts.neighbours([*here, *left], places)
    lines: dict[object, list[Place]] = defaultdict(list)
    for place in sorted(here, key=lambda each: each.rank):
        lines[place.line].append(place)
    next_at: dict[str, int | None] = {}
    for place, stored in zip(here, found, strict=False):
        later = next((each.started_at for each in lines[place.line] if each.rank > place.rank), None)
        times = [at for at in (later, stored.next_at) if at is not None]
        next_at[place.conversation_id] = min(times, default=None)
    disturbed = {
        (place.tenant_id, stored.before_id)
        for place, stored in zip([*here, *left], found, strict=True)
        if stored.before_id is not None and place.conversation_id in moved
    }
    return next_at, disturbed


async def leads(services: Services) -> bool:
    """Whether this process is the one that counts for the cluster.

    The lease is renewed in its middle, not at each look: two that think they lead count in vain, and never twice.
    """
    now = services.clock.micros()
    if services.limits.sole_owner or 0 <= now - services.facts.led_at < LEAD_SECONDS / 2 * 1_000_000:
        return True
    try:
        async with services.db.batch() as batch:
            services.facts.lead(batch, services.limits.owner, seconds=LEAD_SECONDS)
    except Conflict:
        return False
    services.facts.led_at = now
    return True


async def sweep_minutes(services: Services, _task: Task, _state: Mapping[str, object]) -> Mapping[str, object]:
    """Sums by the minute are kept for three days."""
    async with services.db.batch(long=True) as batch:
        services.facts.drop_minutes(batch, now=services.clock.micros())
    return {"done": True, "report": {DEPLOYMENT: {"minutes": 1}}}
