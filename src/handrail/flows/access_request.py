"""All that is stored of one user, in the form they can be given: what they said, what was said, done and counted."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from handrail.core import json
from handrail.core.principal import Principal
from handrail.flows.erasure import tenant_for
from handrail.flows.services import Services
from handrail.protection.audit import AuditEntry
from handrail.reports.subjects import told_of_conversation, told_of_subject
from handrail.serving.conversations import Conversation

PAGE = 100
# Every table that names a user or hangs on a conversation is told, but these; a test holds the two together.
LEFT_OUT: Mapping[str, str] = {
    "approval_view": "who of the staff has looked at an approval says nothing of its user",
    "search_entry": "keyed digests of the words of messages, which are told themselves",
    "search_pending": "a note that a conversation is to be read into the index",
    "fact_change": "a note that a conversation is to be counted anew, gone a second later",
}


async def told_of(
    services: Services, principal: Principal, subject: str, tenant: str | None = None
) -> AsyncIterator[bytes]:
    """A line of JSON about the user, and one for each conversation: all that was said, done, asked and decided in it,
    and what was said, recorded, traced, counted and found about it; audited first.

    Raises:
        PermissionDenied: not an admin of that tenant.
    """
    tenant_id = tenant_for(principal, tenant)
    entry = AuditEntry(tenant_id, "subject.exported", "done", "subject:one", principal, subject=subject)
    async with services.db.batch() as batch:
        services.audit.record(batch, entry)
    return _lines(services, tenant_id, subject)


async def _lines(services: Services, tenant_id: str, subject: str) -> AsyncIterator[bytes]:
    until, after = services.clock.micros(), ""
    known = await told_of_subject(services.db, tenant_id, subject)
    yield json.dumps({"object": "subject", "subject": subject, **known}).encode() + b"\n"
    while found := await services.background.subjects.page(tenant_id, subject, until=until, after=after, limit=PAGE):
        for conversation in found:
            yield await _line(services, conversation)
        after = found[-1].id


async def _line(services: Services, conversation: Conversation) -> bytes:
    body = json.loads(await services.background.export.line(conversation))
    turns = dict.fromkeys(each["turn_id"] for each in body["messages"])
    now = services.clock.micros()
    body["approvals"] = [
        {name: value for name, value in each.body(now).items() if name not in ("decided_by", "approvers")}
        for turn_id in turns
        for each in await services.approvals.of_turn(conversation.tenant_id, turn_id)
    ]
    body["escalations"] = [
        each.body() for each in await services.escalations.of_conversation(conversation.tenant_id, conversation.id)
    ]
    body["approval_questions"] = [
        each.body()
        for turn_id in turns
        for each in await services.approvals.questions.of_turn(conversation.tenant_id, turn_id)
    ]
    rows = await told_of_conversation(services.db, conversation.tenant_id, conversation.id)
    awaiting = conversation.awaiting
    body |= {"channel": conversation.channel, "awaiting": None if awaiting is None else asdict(awaiting)}
    return json.dumps({**body, **rows, **await _said_of(services, conversation)}).encode() + b"\n"


async def _said_of(services: Services, conversation: Conversation) -> dict[str, Any]:
    """What was said of it; who of the staff said it is nothing of the user's."""
    store, place = services.feedback, (conversation.tenant_id, conversation.id)
    return {
        "feedback": [
            each.body() | ({"given_by": None} if each.source == "staff" else {})
            for each in await store.of_conversation(*place)
        ],
        "value_events": [each.body() | {"recorded_by": None} for each in await store.events(*place)],
        "review_verdicts": [each.body() | {"reviewer": None} for each in await store.verdicts(*place)],
    }
