"""A pseudonym that an alert or an audit record shows leads to the user it stands for."""

import pytest

from handrail.core.clock import FrozenClock
from handrail.flows.pseudonyms import named
from handrail.reports.conversations import ConversationFilters
from tests.flows.spoken import Spoken
from tests.flows.world import World


@pytest.fixture
def spoken(world: World, clock: FrozenClock) -> Spoken:
    return Spoken(world.services, clock)


def pseudonym_of(world: World, subject: str, tenant_id: str = "default") -> str:
    return world.services.audit.pseudonyms.of(tenant_id, subject)


async def test_it_becomes_the_name_of_who_talked_in_that_time(world: World, spoken: Spoken) -> None:
    for subject in ("ana", "bo"):
        await spoken.conversation(subject, "hello")
    await spoken.indexed()
    wanted = ConversationFilters("default", subject=pseudonym_of(world, "bo"))
    assert (await named(world.services, wanted)).subject == "bo"


async def test_it_stays_where_nobody_of_that_tenant_and_time_has_it(world: World, spoken: Spoken) -> None:
    await spoken.conversation("bo", "hello")
    await spoken.conversation("bo", "hello", tenant_id="acme")
    await spoken.indexed()
    for wanted in (
        ConversationFilters("default", subject=pseudonym_of(world, "ana")),
        ConversationFilters("default", subject=pseudonym_of(world, "bo", "acme")),
        ConversationFilters("default", subject=pseudonym_of(world, "bo"), until=1),
        ConversationFilters("default", subject="bo"),
        ConversationFilters("default"),
    ):
        assert await named(world.services, wanted) == wanted
