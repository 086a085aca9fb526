"""The story of a pseudonym: alerts and audit records know a user by one, and lead to the conversations of that user."""

from dataclasses import replace

from handrail.flows.services import Services
from handrail.reports.conversations import ConversationFilters, subjects_of

PSEUDONYM = "hmac:"
# Looking for one among so many takes a fifth of a second.
MOST_SUBJECTS = 100_000


async def named(services: Services, filters: ConversationFilters) -> ConversationFilters:
    """With the user's name where the filters have a pseudonym; as they are, where nobody of that time has it."""
    pseudonym, tenant_id = filters.subject or "", filters.tenant_id
    if not pseudonym.startswith(PSEUDONYM):
        return filters
    since, until = filters.since or 0, filters.until or services.clock.micros() + 1
    there = await subjects_of(services.db, tenant_id, since, until, limit=MOST_SUBJECTS)
    name_of = services.audit.pseudonyms.of
    return replace(filters, subject=next((each for each in there if name_of(tenant_id, each) == pseudonym), pseudonym))
