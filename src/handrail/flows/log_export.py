"""The story of an anonymised log: read everything once, user by user, to know what is common; then write every
conversation without its people and without what is rare.

Nothing of it is stored, but what the deployment has written by schedule. One at a time in a process, in a thread beside
the turns, and at half speed while any run.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from handrail.core import json
from handrail.core.clock import as_datetime
from handrail.core.errors import HandrailError, UsageError
from handrail.core.jobs import Task
from handrail.core.principal import Principal
from handrail.core.times import micros_of, require_order
from handrail.flows.erasure import tenant_for
from handrail.flows.periods import whole_days
from handrail.flows.services import Services
from handrail.protection.audit import AuditEntry
from handrail.protection.privacy import Vocabulary, without_people, without_rare_words, words_of
from handrail.reports.series import active_tenants
from handrail.serving.conversations import Chosen, ConversationLog, Told

LEAST_K, MOST_K = 2, 200
PAGE = 50
OTHER = "other"
T = TypeVar("T")
Body = dict[str, Any]


class TooFewUsers(UsageError):
    """So few users have these conversations that a log of them would be about somebody."""

    code = "too_few_users"


class LogExportRuns(HandrailError):
    """Another log is being written by this process."""

    code = "log_export_runs"
    retryable = True


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What log is asked for.

    Attributes:
        k: a value or a word that fewer users share is not told.
        masks_words: whether that goes for the words of messages too.
        tenant: another tenant's, by the local operator alone.
    """

    agent: str = ""
    release_id: str = ""
    since: int = 0
    until: int = 1 << 62
    k: int = 5
    masks_words: bool = True
    tenant: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "LogRequest":
        """From texts: times are RFC 3339, `words` is `mask` or `keep`. Raises `UsageError` for what is none."""
        k, words = given.get("k", "5"), given.get("words", "mask")
        if not (k.isascii() and k.isdecimal() and len(k) < 4):
            raise UsageError(f"k {k[:40]!r} is no number; choose {LEAST_K} to {MOST_K}", param="k")
        if words not in ("mask", "keep"):
            raise UsageError(f"words {words[:40]!r} is neither 'mask' nor 'keep'", param="words")
        since = micros_of("since", given["since"]) if "since" in given else 0
        until = micros_of("until", given["until"]) if "until" in given else 1 << 62
        require_order(since, until)
        return cls(
            agent=given.get("agent", ""),
            release_id=given.get("release", ""),
            since=since,
            until=until,
            k=int(k),
            masks_words=words == "mask",
            tenant=given.get("tenant"),
        )


async def anonymised_log(services: Services, principal: Principal, asked: LogRequest) -> AsyncGenerator[bytes]:
    """Lines of JSON: a header, then a conversation a line; audited first.

    Raises:
        PermissionDenied: not an admin of that tenant.
        TooFewUsers: fewer than `k` have one.
        LogExportRuns: one is being written.
    """
    return await _begun(services, principal, tenant_for(principal, asked.tenant), asked)


async def log_page(services: Services, task: Task, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """By schedule: the log of the last day or week of one tenant after the other, each into a file beside the exports.

    A page that runs again writes its file anew. Of a tenant with too few users there is none, and the report says so.
    """
    period = whole_days(task, services.log_days, services.clock.micros())
    if period is None:
        return {"done": True, "report": {}}
    since, until = state.get("period") or period
    after, number, report = state.get("after", ""), state.get("number", 0), dict(state.get("report", {}))
    tenants = [each for each in sorted(await active_tenants(services.db, since)) if each > after]
    if not tenants:
        return {"done": True, "report": report}
    tenant_id, asked = tenants[0], LogRequest(since=since, until=until)
    try:
        lines = await _begun(services, None, tenant_id, asked)
        report[tenant_id] = await _saved(services, f"{task.id}-{number}", lines)
    except TooFewUsers:
        report[tenant_id] = {"too_few_users": asked.k}
    return {"period": [since, until], "after": tenant_id, "number": number + 1, "report": report}


async def _saved(services: Services, name: str, lines: AsyncGenerator[bytes]) -> Body:
    folder, size, count = services.background.exports, 0, -1
    waiting: list[bytes] = []
    async for line in lines:
        waiting.append(line)
        count += 1
        if len(waiting) >= PAGE:
            size, waiting = await asyncio.to_thread(folder.append, name, size, waiting), []
    size = await asyncio.to_thread(folder.append, name, size, waiting)
    await asyncio.to_thread(folder.finish, name)
    return {"conversations": count, "bytes": size, "file": str(folder.path(name))}


async def _begun(
    services: Services, principal: Principal | None, tenant_id: str, asked: LogRequest
) -> AsyncGenerator[bytes]:
    if not LEAST_K <= asked.k <= MOST_K:
        raise UsageError(f"k is {asked.k!r}; choose {LEAST_K} to {MOST_K}", param="k")
    log, until = ConversationLog(services.db), min(asked.until, services.clock.micros() + 1)
    chosen = Chosen(tenant_id, asked.agent, asked.release_id, asked.since, until)
    if services.background.logging.locked():
        raise LogExportRuns("a log is being written; wait for its end", retry_after_seconds=60)
    if not await log.has_users(chosen, asked.k):
        raise TooFewUsers(
            f"fewer than {asked.k} users have such a conversation; choose a longer period or fewer filters", param="k"
        )
    details = (("k", asked.k), ("masks_words", asked.masks_words))
    entry = AuditEntry(tenant_id, "conversation_log.exported", "done", "conversations:all", principal, details=details)
    async with services.db.batch() as batch:
        services.audit.record(batch, entry)
    return _lines(services, log, chosen, asked)


async def _lines(services: Services, log: ConversationLog, chosen: Chosen, asked: LogRequest) -> AsyncGenerator[bytes]:
    async with services.background.logging:
        yield _encoded({"object": "conversation_log", "k": asked.k, "words_masked": asked.masks_words})
        common = await _counted(services, log, chosen)
        after = ""
        while found := await log.by_id(chosen, after=after, limit=PAGE):
            after = found[-1].id
            told = [await log.told(each) for each in found]
            bodies = await _beside(services, lambda told=told: [_body(each, common, asked) for each in told])
            # Their order would say which came first.
            random.shuffle(bodies)
            for body in bodies:
                yield _encoded(body)


async def _counted(services: Services, log: ConversationLog, chosen: Chosen) -> Vocabulary:
    """By how many users each word and each value was used."""
    common, after, mine = Vocabulary(), ("", ""), set[str]()
    while found := await log.by_user(chosen, after=after, limit=PAGE):
        for conversation in found:
            if conversation.subject != after[0]:
                common.add(mine)
                mine = set[str]()
            after = (conversation.subject, conversation.id)
            told = await log.told(conversation)
            mine |= await _beside(services, lambda told=told: _used(told))
    common.add(mine)
    return common


async def _beside(services: Services, work: Callable[[], T]) -> T:
    """In a thread; while turns run, with as long a rest as it took."""
    began = time.monotonic()
    done = await asyncio.to_thread(work)
    await asyncio.sleep(time.monotonic() - began if services.running else 0)
    return done


def _used(told: Told) -> set[str]:
    used = {_value(*each) for each in _values(told)}
    for text in _texts(told):
        used |= words_of(text)
    return used


def _values(told: Told) -> list[tuple[str, str | None]]:
    """What may be rare besides words, by what it is."""
    conversation = told.conversation
    found: list[tuple[str, str | None]] = [
        ("agent", conversation.agent),
        ("release", conversation.release_id),
        ("channel", conversation.channel),
        ("week", _week(conversation.created_at)),
    ]
    for turn in told.turns:
        found += [("intent", turn.intent), ("action", turn.action), ("error", turn.error_code)]
    found += [("tool", call.name) for call in told.calls]
    return found


def _value(what: str, value: str | None) -> str:
    # No word has a colon in it.
    return f"{what}:{value}"


def _texts(told: Told) -> list[str]:
    """The messages without people, in order; each is read after what was said before it."""
    texts: list[str] = []
    previous: str | None = None
    for message in told.messages:
        texts.append(without_people(message.content, previous))
        previous = message.content
    return texts


def _week(micros: int) -> str:
    year, week, _ = as_datetime(micros).isocalendar()
    return f"{year}-W{week:02d}"


def _body(told: Told, common: Vocabulary, asked: LogRequest) -> Body:
    def shared(what: str, value: str | None) -> str | None:
        return value if value is None or common.count(_value(what, value)) >= asked.k else OTHER

    def masked(text: str) -> str:
        return without_rare_words(text, common, asked.k) if asked.masks_words else text

    conversation, texts = told.conversation, [masked(each) for each in _texts(told)]
    said: dict[str, list[Body]] = {}
    for message, text in zip(told.messages, texts, strict=True):
        said.setdefault(message.turn_id, []).append({"role": message.role, "content": text})
    done: dict[str, list[Body]] = {}
    for call in told.calls:
        body = {"name": shared("tool", call.name), "status": call.status, "arguments": _kinds(call.arguments)}
        done.setdefault(call.turn_id, []).append(body)
    return {
        # Of this export alone, and of nothing else.
        "id": f"log_{secrets.token_hex(12)}",
        "week": shared("week", _week(conversation.created_at)),
        "agent": shared("agent", conversation.agent),
        "release": shared("release", conversation.release_id),
        "channel": shared("channel", conversation.channel),
        "turns": [
            {
                "status": turn.status.value,
                "intent": shared("intent", turn.intent),
                "action": shared("action", turn.action),
                "error": shared("error", turn.error_code),
                "escalated": turn.escalation_id is not None,
                "messages": said.get(turn.id, []),
                "tools": done.get(turn.id, []),
            }
            for turn in told.turns
        ],
    }


def _kinds(arguments: str) -> Sequence[str]:
    """Of what kinds a call's arguments were; their names and values may be anybody's."""
    try:
        given: Any = json.loads(arguments)
    except ValueError:
        return ["text"]
    values = given.values() if isinstance(given, Mapping) else [given]
    return [_KINDS.get(type(each), "object") for each in values]


_KINDS = {str: "text", int: "number", float: "number", bool: "boolean", list: "list", type(None): "null"}


def _encoded(body: Body) -> bytes:
    return json.dumps(body).encode() + b"\n"
