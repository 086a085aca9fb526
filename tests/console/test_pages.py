"""The console's pages as a browser without scripts gets them."""

import re
from html.parser import HTMLParser

import pytest

from handrail.core.principal import Role
from tests.console.console import REPLY, Console

PAGES = ["/console/chat", "/console/approvals", "/console/switches", "/docs", "/console/status"]
ESCAPED_REPLY = "&lt;b title=&#39;said by the model&#39;&gt;bold&lt;/b&gt; &amp; so on"


class Markup(HTMLParser):
    """What a page would load, run or style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        if tag in ("script", "link", "img"):
            self.addresses.append(given.get("src") or given.get("href") or "")


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


class TestEveryPage:
    @pytest.mark.parametrize("path", PAGES)
    async def test_forbids_everything_that_is_not_its_own(self, console: Console, path: str):
        page = await console.get(path)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "nosniff" in page.headers["x-content-type-options"]

    @pytest.mark.parametrize("path", PAGES)
    async def test_has_no_inline_script_or_style_and_loads_only_own_files(self, console: Console, path: str):
        markup = Markup((await console.get(path)).text)
        assert markup.inline == []
        assert markup.addresses
        assert all(address.startswith("/console/static/") for address in markup.addresses)

    @pytest.mark.parametrize("path", PAGES)
    async def test_marks_its_own_place_in_the_navigation(self, console: Console, path: str):
        page = (await console.get(path)).text
        assert re.findall(r'<a href="([^"]+)" aria-current="page">', page) == [path]

    async def test_the_root_leads_to_the_chat(self, console: Console):
        answer = await console.get("/")
        assert (answer.status_code, answer.headers["location"]) == (307, "/console/chat")


class TestStaticFiles:
    async def test_are_kept_for_ever_under_the_address_a_page_names(self, console: Console):
        markup = Markup((await console.get("/console/chat")).text)
        for address in markup.addresses:
            file = await console.get(address)
            assert file.status_code == 200
            assert "immutable" in file.headers["cache-control"]

    async def test_are_not_kept_under_the_address_of_another_version(self, console: Console):
        file = await console.get("/console/static/0123456789abcdef/chat.js")
        assert (file.status_code, file.headers["cache-control"]) == (200, "no-store")

    async def test_have_a_type_that_browsers_accept_for_modules(self, console: Console):
        file = await console.get("/console/static/x/chat.js")
        assert file.headers["content-type"].startswith("text/javascript")

    @pytest.mark.parametrize("name", ["nothing.js", "..%2F__init__.py", "__init__.py"])
    async def test_what_is_not_there_is_not_found(self, console: Console, name: str):
        assert (await console.get(f"/console/static/x/{name}")).status_code == 404


class TestChat:
    async def test_shows_the_agents_name_greeting_and_first_questions_escaped(self, console: Console):
        page = (await console.get("/console/chat")).text
        assert "<h1>Echo &amp; Co</h1>" in page
        assert "Hello &lt;you&gt;." in page

    async def test_a_form_post_shows_the_answer_in_the_conversation(self, console: Console):
        conversation = await console.say("hello there")
        page = (await console.get(f"/console/chat?conversation={conversation}")).text
        assert ESCAPED_REPLY in page
        assert REPLY not in page
        assert '<div class="text" data-part="said">hello there</div>' in page

    async def test_a_second_post_goes_on_in_the_same_conversation(self, console: Console):
        first = await console.say("hello there")
        assert await console.say("how are you", first) == first
        page = (await console.get(f"/console/chat?conversation={first}")).text
        assert page.index("hello there") < page.index("how are you")

    async def test_lists_earlier_conversations(self, console: Console):
        conversation = await console.say("hello there")
        page = (await console.get("/console/chat")).text
        assert f'href="/console/chat?conversation={conversation}"' in page

    async def test_a_conversation_that_is_not_there_is_said_so(self, console: Console):
        page = await console.get("/console/chat?conversation=conv_nowhere")
        assert page.status_code == 404
        assert "there is no conversation &#39;conv_nowhere&#39;" in page.text

    async def test_an_agent_that_is_not_there_is_said_so(self, console: Console):
        page = await console.get("/console/chat?agent=nobody")
        assert page.status_code == 404
        assert "there is no agent &#39;nobody&#39;" in page.text

    async def test_a_refused_message_comes_back_in_the_field(self, console: Console):
        for _ in range(3):
            await console.say("hello there")
        page = await console.post({"message": "one <too> many"})
        assert page.status_code == 429
        assert ">one &lt;too&gt; many</textarea>" in page.text
        assert 'role="alert"' in page.text

    async def test_a_message_of_nothing_but_blanks_is_refused(self, console: Console):
        page = await console.post({"message": "   "})
        assert page.status_code == 422


class TestForms:
    @pytest.mark.parametrize(
        "headers",
        [
            {"sec_fetch_site": "cross-site"},
            {"sec_fetch_site": "same-site"},
            {"sec_fetch_site": "none"},
            {"sec_fetch_site": "", "origin": "http://localhost:8080"},
            {"sec_fetch_site": "", "origin": ""},
        ],
    )
    async def test_a_form_that_is_not_ours_does_nothing(self, console: Console, headers: dict[str, str]):
        answer = await console.post({"message": "hello there"}, **headers)
        assert answer.status_code == 403
        listed = await console.get("/v1/conversations")
        assert listed.json()["data"] == []

    async def test_an_old_browser_is_known_by_its_origin(self, console: Console):
        answer = await console.post({"message": "hello there"}, sec_fetch_site="")
        assert answer.status_code == 303

    async def test_a_huge_form_is_refused(self, console: Console):
        answer = await console.post({"message": "x" * 300_000})
        assert answer.status_code == 413


class TestKeys:
    async def test_with_keys_no_conversation_is_shown_without_one(self, console: Console):
        conversation = await console.say("hello there")
        await configure_a_key(console)
        page = await console.get(f"/console/chat?conversation={conversation}")
        assert page.status_code == 200
        assert "data-needs-key" in page.text
        assert "hello there" not in page.text
        assert "a plain form can't carry one" in text_of(page.text)

    async def test_with_keys_a_form_is_refused_and_told_how_to_go_on(self, console: Console):
        await configure_a_key(console)
        answer = await console.post({"message": "hello there"})
        assert answer.status_code == 401
        assert "A plain form can&#39;t carry an API key" in answer.text

    async def test_a_key_does_not_open_a_console_page(self, console: Console):
        conversation = await console.say("hello there")
        key = await configure_a_key(console)
        page = await console.get(f"/console/chat?conversation={conversation}", authorization=f"Bearer {key}")
        assert "hello there" not in page.text


async def configure_a_key(console: Console) -> str:
    services = console.services
    created = await services.keys.create(
        tenant_id="default", subject="demo-customer", role=Role.END_USER, at=services.clock.micros()
    )
    services.authenticator.forget()
    return created.body()["key"]


class TestReference:
    async def test_describes_every_operation_of_the_document(self, console: Console):
        document = (await console.get("/openapi.json")).json()
        page = text_of((await console.get("/docs")).text)
        operations = [(method.upper(), path) for path, item in document["paths"].items() for method in item]
        assert operations
        for method, path in operations:
            assert f"{method} {path} " in page

    async def test_says_what_a_body_needs(self, console: Console):
        page = text_of((await console.get("/docs")).text)
        assert "message string, in the body, required The user&#39;s words." in page


class TestStatus:
    async def test_says_what_is_on_and_what_is_not(self, console: Console):
        page = text_of((await console.get("/console/status")).text)
        assert "Ready to take turns" in page
        for missing in (await console.get("/readyz")).json()["off"]:
            assert missing.replace("_", " ") in page
