"""The page on which staff search in what was said, without scripts."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.principal import Role
from handrail.protection.audit import AuditQuery
from handrail.reports.conversations import ConversationFilters, conversations
from tests.console.console import Console
from tests.console.test_dashboard import count
from tests.console.test_sign_in import OURS, Browser, key_of
from tests.flows.spoken import Spoken, read_all

PAGE = "/console/conversations/search"
MAIL = "ana.moss@example.org"
OF_ALL = ConversationFilters("default")


async def told(console: Console, *messages: str) -> list[str]:
    """Conversations that begin so, in the index."""
    found = [await console.say(each) for each in messages]
    await count(console)
    await read_all(console.services)
    return found


def text_of(page: str) -> str:
    """The main part of a page as it reads."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", page.partition("<main")[2].partition("</main")[0])))


class TestWords:
    async def test_are_marked_in_the_text_around_them_and_all_else_is_escaped(self, console: Console) -> None:
        (conversation,) = await told(console, "<script>alert(1)</script> my <i>Umbrella</i> is broken")
        page = (await console.get(f"{PAGE}?q=umbrella+broken")).text
        assert "<mark>Umbrella</mark>&lt;/i&gt; is <mark>broken</mark>" in page
        assert "<script>alert" not in page
        assert f'href="/console/conversations/{conversation}"' in page
        assert "Searched for umbrella and broken: 1, the newest first." in text_of(page)

    async def test_lead_from_the_list_to_the_search_with_its_filters(self, console: Console) -> None:
        answer = await console.get("/console/conversations?q=umbrella&range=24h")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}?q=umbrella&range=24h")
        page = (await console.get(answer.headers["location"])).text
        assert 'value="umbrella"' in page
        assert '<option value="24h" selected>' in page
        assert "q=umbrella" not in (await console.get("/console/conversations?q=++&range=24h")).text

    async def test_of_a_user_are_found_by_the_pseudonym_that_an_alert_shows(self, console: Console) -> None:
        (conversation,) = await told(console, "my umbrella is broken")
        (subject,) = {each.subject for each in (await conversations(console.services.db, OF_ALL)).conversations}
        assert subject is not None
        for name, expected in ((subject, True), ("somebody else", False)):
            pseudonym = console.services.audit.pseudonyms.of("default", name)
            page = (await console.get(f"{PAGE}?q=umbrella&subject={pseudonym}")).text
            assert (f"/console/conversations/{conversation}" in page) == expected

    async def test_of_which_none_is_found_are_said_with_what_to_try(self, console: Console) -> None:
        page = text_of((await console.get(f"{PAGE}?q=the+%22not+at+all%22+umbrella")).text)
        assert "Searched for umbrella and \"not at all\"; left out 'the': too short, or in nearly" in page
        assert "Try fewer" in page
        assert "Searched for no word: nothing found." in text_of((await console.get(f"{PAGE}?q=")).text)

    async def test_that_are_an_identifier_are_told_where_it_belongs(self, console: Console) -> None:
        await told(console, f"write to {MAIL} please")
        page = text_of((await console.get(f"{PAGE}?q={MAIL}")).text)
        assert "Identifiers are left out" in page
        assert "personal:read" in page

    @pytest.mark.parametrize("odd", ["%22", "*", "%F0%9F%99%82", "x" * 5000, "%E2%80%AE%D7%A9", "NEAR(a b)"])
    async def test_may_be_anything(self, console: Console, odd: str) -> None:
        assert (await console.get(f"{PAGE}?q={odd}")).status_code == 200

    async def test_with_choices_that_are_not_known_are_told_so(self, console: Console) -> None:
        for wrong in ("outcome=%3Cb%3E", "range=ever", "cursor=x", "agnet=x"):
            answer = await console.get(f"{PAGE}?q=umbrella&{wrong}")
            assert answer.status_code == 422, wrong
            assert "<b>" not in answer.text

    async def test_come_page_by_page(self, console: Console) -> None:
        spoken = Spoken(console.services, FrozenClock(datetime.now(UTC) - timedelta(hours=1)))
        for number in range(30):
            await spoken.conversation("ana", f"umbrella {number:03d}")
        await count(console)
        await read_all(console.services)
        first = (await console.get(f"{PAGE}?q=umbrella")).text
        onward = re.search(r'href="([^"]+cursor=[^"]+)"', first)
        assert onward is not None
        second = (await console.get(onward[1].replace("&amp;", "&"))).text
        assert "umbrella</mark> 029" in first
        assert "umbrella</mark> 000" in second
        assert "cursor=" not in second

    async def test_that_wait_to_be_read_are_told_of_when_they_are_late(self, console: Console) -> None:
        await console.say("hello there")
        await count(console)
        assert "not in the index" not in (await console.get(f"{PAGE}?q=umbrella")).text
        async with console.services.db.batch() as batch:
            console.services.search.changed(batch, {"conv_old": "default"}, at=1)
        assert "are not in the index with all that was said" in (await console.get(f"{PAGE}?q=umbrella")).text

    async def test_are_on_record_as_a_search_without_what_it_was_for(self, console: Console) -> None:
        await told(console, "my umbrella is broken")
        await console.get(f"{PAGE}?q=umbrella")
        await console.services.audit.flush()
        found = await console.services.audit.store.search(AuditQuery("default", action="conversations.searched"))
        assert [each.target for each in found] == ["conversations:words"]
        assert "umbrella" not in str(found)


class TestIdentifiers:
    async def test_are_searched_for_by_who_may_read_them_and_never_shown(self, console: Console) -> None:
        (conversation,) = await told(console, f"write to {MAIL} please")
        form = {"identifier": MAIL.upper(), "range": "24h"}
        refused = await console.client.post(PAGE, data=form, headers=OURS)
        assert refused.status_code == 403
        assert MAIL.upper() not in refused.text
        assert "Or an identifier" not in (await console.get(f"{PAGE}?q=x")).text
        await Browser(console.client).sign_in(await key_of(console, Role.ADMIN))
        assert "Or an identifier" in (await console.get(f"{PAGE}?q=x")).text
        answer = await console.client.post(PAGE, data=form, headers=OURS)
        assert answer.status_code == 200, answer.text
        assert f'href="/console/conversations/{conversation}"' in answer.text
        assert "<mark>&lt;email_" in answer.text
        assert MAIL not in answer.text
        assert MAIL.upper() not in answer.text
        assert (await console.client.post(PAGE, data={"identifier": " - "}, headers=OURS)).status_code == 422

    async def test_come_page_by_page_by_forms(self, console: Console) -> None:
        spoken = Spoken(console.services, FrozenClock(datetime.now(UTC) - timedelta(hours=1)))
        for number in range(26):
            await spoken.conversation("ana", f"{number:03d} {MAIL}")
        await count(console)
        await read_all(console.services)
        await Browser(console.client).sign_in(await key_of(console, Role.ADMIN))
        first = (await console.client.post(PAGE, data={"identifier": MAIL}, headers=OURS)).text
        form = first.partition('<form class="after"')[2].partition("</form>")[0]
        fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
        second = (await console.client.post(PAGE, data=fields, headers=OURS)).text
        assert "000 <mark>" in second
        assert 'class="after"' not in second

    async def test_of_a_form_of_another_site_are_refused(self, console: Console) -> None:
        headers = OURS | {"sec-fetch-site": "cross-site"}
        assert (await console.client.post(PAGE, data={"identifier": MAIL}, headers=headers)).status_code == 403
