"""Signing in as a browser without scripts does it, and what others try."""

import re
from dataclasses import dataclass

import httpx2
import pytest

from handrail.core.principal import Principal, Role
from handrail.flows.sign_in import LinkWanted, link_at_start, make_link
from handrail.http.app import create_app
from handrail.protection.audit import AuditQuery
from handrail.protection.auth import LOCAL_OPERATOR, CreatedKey
from handrail.protection.rate_limits import Rate, RateLimiter
from tests.console.console import ORIGIN, Console

OURS = {"sec-fetch-site": "same-origin", "origin": ORIGIN}
PAGES = ["/console/approvals", "/console/switches", "/console/jobs", "/console/account"]


async def key_of(console: Console, role: Role, subject: str = "olga", tenant: str = "default") -> CreatedKey:
    services = console.services
    made = await services.keys.create(tenant_id=tenant, subject=subject, role=role, at=services.clock.micros())
    services.authenticator.forget()
    return made


@dataclass
class Browser:
    """One browser: it keeps its cookies and nothing else."""

    client: httpx2.AsyncClient

    async def get(self, path: str) -> httpx2.Response:
        return await self.client.get(path)

    async def post(self, path: str, headers: dict[str, str] = OURS, **fields: str) -> httpx2.Response:
        return await self.client.post(path, data=fields, headers=headers)

    async def sign_in(self, key: CreatedKey, onward: str = "/console/jobs") -> httpx2.Response:
        return await self.post("/console/sign-in", key=key.text, next=onward)


@pytest.fixture
async def browser(console: Console) -> Browser:
    return Browser(console.client)


def another(console: Console, origin: str = ORIGIN, host: str = "127.0.0.1") -> Browser:
    app = create_app(console.services, port=8080)
    return Browser(httpx2.AsyncClient(transport=httpx2.ASGITransport(app, client=(host, 5)), base_url=origin))


async def actions(console: Console) -> list[str]:
    await console.services.audit.flush()
    return [each.action for each in await console.services.audit.store.search(AuditQuery("default"))]


class TestByKey:
    @pytest.mark.parametrize("path", PAGES)
    async def test_a_page_asks_who_one_is_and_leads_back_to_itself(self, console: Console, browser: Browser, path: str):
        key = await key_of(console, Role.OPERATOR)
        asked = await browser.get(path)
        assert asked.status_code == 401
        assert f'name="next" value="{path}"' in asked.text
        answer = await browser.sign_in(key, path)
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        page = await browser.get(path)
        assert page.status_code == 200
        assert "olga" in page.text
        assert "Sign out" in page.text

    async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(self, console: Console, browser: Browser):
        cookie = (await browser.sign_in(await key_of(console, Role.VIEWER))).headers["set-cookie"]
        assert re.match(r"handrail=[A-Za-z0-9_-]{43};", cookie)
        assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
        assert "Domain" not in cookie

    async def test_over_tls_the_cookie_is_for_this_host_and_tls_alone(self, console: Console):
        key = await key_of(console, Role.VIEWER)
        secure = another(console, "https://console.example")
        origin = {"sec-fetch-site": "same-origin", "origin": "https://console.example"}
        cookie = (await secure.post("/console/sign-in", origin, key=key.text)).headers["set-cookie"]
        assert cookie.startswith("__Host-handrail=")
        assert "Secure" in cookie.split("; ")
        # What came without TLS may have been planted by somebody on the way.
        secure.client.cookies.clear()
        secure.client.cookies.set("handrail", cookie.partition("=")[2].partition(";")[0])
        assert (await secure.get("/console/jobs")).status_code == 401

    async def test_every_role_sees_what_is_its_own_to_do(self, console: Console):
        for role, runs, switches in (
            (Role.VIEWER, False, False),
            (Role.REVIEWER, False, False),
            (Role.APPROVER, False, False),
            (Role.OPERATOR, True, True),
            (Role.ADMIN, True, True),
        ):
            browser = another(console)
            await browser.sign_in(await key_of(console, role, role.value))
            assert ("Run now" in (await browser.get("/console/jobs")).text) is runs
            assert ("Switch off" in (await browser.get("/console/switches")).text) is switches
            ran = await browser.post("/console/jobs/retention")
            assert ran.status_code == (303 if runs else 403)
            off = await browser.post("/console/switches", kind="tool", name=f"of_{role.value}", reason="x")
            assert (off.status_code != 403) is switches
        assert {each.switched_by for each in console.services.switches.all()} == {"operator", "admin"}

    async def test_of_an_end_user_opens_nothing(self, console: Console, browser: Browser):
        answer = await browser.sign_in(await key_of(console, Role.END_USER))
        assert answer.status_code == 403
        assert "use it on the chat page" in answer.text
        assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize("text", ["", "hr_00000000_" + "0" * 64, "hrop_" + "0" * 64, "a.b.c", "hr_\0"])
    async def test_that_does_not_work_is_refused_and_noted(self, console: Console, browser: Browser, text: str):
        await key_of(console, Role.ADMIN)
        answer = await browser.post("/console/sign-in", key=text)
        assert answer.status_code == 401
        assert 'role="alert"' in answer.text
        assert text == "" or text not in answer.text
        await console.services.audit.flush()
        (record, *_) = await console.services.audit.store.search(AuditQuery("unknown"))
        assert (record.action, record.outcome) == ("access.denied", "denied")

    async def test_attempts_are_limited_for_each_address(self, console: Console, browser: Browser):
        key = await key_of(console, Role.VIEWER)
        console.services.sign_in_rates = Rate(
            RateLimiter(console.services.clock, per_minute=1, burst=3, what="attempts to sign in from one address")
        )
        for _ in range(3):
            assert (await browser.post("/console/sign-in", key="hr_x")).status_code == 401
        refused = await browser.sign_in(key)
        assert refused.status_code == 429
        assert "too many attempts to sign in from one address" in refused.text
        for host, status in (("10.0.0.9", 303), ("2001:db8::1", 303), ("2001:db8::2", 303), ("2001:db8::3", 303)):
            assert (await another(console, host=host).sign_in(key)).status_code == status
        assert (await another(console, host="2001:db8:0:0:9::4").sign_in(key)).status_code == 429

    @pytest.mark.parametrize(
        "onward",
        ["https://evil.example/", "//evil.example", "/\\evil.example", "/console/..//evil.example", "/v1/keys", "", "x",
         "/console/sign-in", "/console/x\r\nset-cookie: a=b"],
    )  # fmt: skip
    async def test_leads_to_a_page_of_this_console_only(self, console: Console, browser: Browser, onward: str):
        answer = await browser.sign_in(await key_of(console, Role.VIEWER), onward)
        assert answer.headers["location"] == "/console/approvals"

    async def test_opens_no_address_of_the_api_and_no_conversation(self, console: Console, browser: Browser):
        await browser.sign_in(await key_of(console, Role.ADMIN))
        for path in ("/v1/keys", "/v1/conversations", "/v1/approvals"):
            assert (await browser.get(path)).status_code == 401
        assert (await browser.post("/console/chat", message="hello")).status_code == 401

    async def test_a_bearer_opens_no_page(self, console: Console, browser: Browser):
        key = await key_of(console, Role.ADMIN)
        for path in PAGES:
            answer = await console.client.get(path, headers={"authorization": f"Bearer {key.text}"})
            assert answer.status_code == 401


class TestSession:
    async def test_ends_by_signing_out(self, console: Console, browser: Browser):
        await browser.sign_in(await key_of(console, Role.VIEWER))
        stolen = browser.client.cookies["handrail"]
        answer = await browser.post("/console/sign-out")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
        assert 'handrail=""' in answer.headers["set-cookie"]
        thief = another(console)
        thief.client.cookies.set("handrail", stolen)
        assert (await thief.get("/console/jobs")).status_code == 401
        assert {"session.began", "session.ended"} <= set(await actions(console))

    async def test_is_a_new_one_at_every_sign_in(self, console: Console, browser: Browser):
        key = await key_of(console, Role.VIEWER)
        # A cookie that somebody planted before is worth nothing afterwards.
        browser.client.cookies.set("handrail", "A" * 43, domain="127.0.0.1", path="/")
        await browser.sign_in(key)
        first = browser.client.cookies["handrail"]
        assert first != "A" * 43
        await browser.sign_in(key)
        second = browser.client.cookies["handrail"]
        assert second != first
        old = another(console)
        old.client.cookies.set("handrail", first)
        assert (await old.get("/console/jobs")).status_code == 401

    async def test_ends_with_its_key_and_holds_on_every_replica(self, console: Console, browser: Browser):
        key = await key_of(console, Role.VIEWER)
        await browser.sign_in(key)
        replica = another(console)
        replica.client.cookies.update(browser.client.cookies)
        assert (await replica.get("/console/jobs")).status_code == 200
        await console.services.keys.revoke("default", key.key.id, at=console.services.clock.micros())
        assert (await replica.get("/console/jobs")).status_code == 401

    async def test_of_others_is_seen_and_ended_by_an_admin_of_the_tenant_only(self, console: Console):
        people = {name: another(console) for name in ("victim", "viewer", "admin", "stranger")}  # four browsers
        await people["victim"].sign_in(await key_of(console, Role.OPERATOR, "victor"))
        await people["viewer"].sign_in(await key_of(console, Role.VIEWER, "vera"))
        await people["admin"].sign_in(await key_of(console, Role.ADMIN, "adam"))
        await people["stranger"].sign_in(await key_of(console, Role.ADMIN, "eve", "evil"))
        (session,) = [each for each in await console.services.sessions.list("default") if each.subject == "victor"]
        for name in ("viewer", "stranger"):
            assert session.id not in (await people[name].get("/console/account")).text
            refused = await people[name].post("/console/account/sessions", session=session.id)
            assert refused.status_code == 404
        assert (await people["victim"].get("/console/jobs")).status_code == 200
        assert session.id in (await people["admin"].get("/console/account")).text
        assert (await people["admin"].post("/console/account/sessions", session=session.id)).status_code == 303
        assert (await people["victim"].get("/console/jobs")).status_code == 401

    async def test_names_its_person_on_pages_for_everybody_too(self, console: Console, browser: Browser):
        await browser.sign_in(await key_of(console, Role.VIEWER))
        assert "olga" in (await browser.get("/console/status")).text
        assert "olga" in (await browser.get("/docs")).text


FORMS = [
    "/console/sign-out", "/console/account/sessions", "/console/switches", "/console/switches/swi_1",
    "/console/jobs/retention", "/console/approvals/appr_1", "/console/approvals/together", "/console/sign-in",
    "/console/feedback", "/console/conversations/search",
    "/console/scorecard", "/console/alerts/al_1", "/console/alerts/silences", "/console/alerts/silences/sil_1",
    "/console/alerts/channels/ops",
]  # fmt: skip


class TestForms:
    @pytest.mark.parametrize("path", FORMS)
    async def test_of_another_site_do_nothing_for_who_is_signed_in(self, console: Console, browser: Browser, path: str):
        await browser.sign_in(await key_of(console, Role.OPERATOR))
        for headers in (
            {"sec-fetch-site": "cross-site", "origin": ORIGIN},
            {"sec-fetch-site": "same-site", "origin": ORIGIN},
            {"sec-fetch-site": "none"},
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {},
        ):
            assert (await browser.post(path, headers, kind="tool", name="x", reason="x")).status_code == 403
        assert (await browser.get("/console/jobs")).status_code == 200
        assert console.services.switches.all() == []

    async def test_are_all_that_the_console_has(self, console: Console):
        app = create_app(console.services, port=8080)
        posts = {
            re.sub(r"\{\w+\}", "x", path)
            for route in app.routes
            if (path := getattr(route, "path", "")).startswith("/console")
            and "POST" in (getattr(route, "methods", None) or ())
        }
        ours = {re.sub(r"/(swi_1|appr_1|retention|al_1|sil_1|ops)$", "/x", path) for path in FORMS}
        assert posts == ours | {"/console/chat", "/console/chat/answer", "/console/chat/feedback"}

    async def test_that_are_huge_are_refused(self, console: Console, browser: Browser):
        await browser.sign_in(await key_of(console, Role.OPERATOR))
        assert (await browser.post("/console/switches", name="x" * 200_000)).status_code == 413


class TestByLink:
    async def test_the_first_operator_comes_in_once(self, console: Console, browser: Browser):
        await key_of(console, Role.END_USER)
        made = await make_link(console.services, LOCAL_OPERATOR, LinkWanted())
        path = made.body()["path"]
        page = await browser.get(path)
        assert page.status_code == 200
        assert page.headers["referrer-policy"] == "no-referrer"
        # Mail programs open links to look at them.
        assert (await browser.get(path)).status_code == 200
        answer = await browser.post("/console/sign-in", link=made.text)
        assert answer.status_code == 303
        account = (await browser.get("/console/account")).text
        assert "first-operator" in account
        assert "a one-time link" in account
        again = await another(console).post("/console/sign-in", link=made.text)
        assert again.status_code == 401
        assert "handrail keys link" in again.text
        assert (await another(console).get(path)).status_code == 401

    async def test_is_not_the_local_operator(self, console: Console, browser: Browser):
        await key_of(console, Role.END_USER, tenant="evil")
        made = await make_link(console.services, LOCAL_OPERATOR, LinkWanted())
        principal = made.link.principal
        assert principal != LOCAL_OPERATOR
        await browser.post("/console/sign-in", link=made.text)
        off = await browser.post("/console/switches", kind="tenant", name="evil", reason="x")
        assert off.status_code == 409, "another tenant's things are the local operator's"

    async def test_is_printed_at_the_start_until_somebody_came_in_by_one(self, console: Console, browser: Browser):
        assert await link_at_start(console.services) is None, "there are no keys"
        await key_of(console, Role.ADMIN)
        made = await link_at_start(console.services)
        assert made is not None
        await browser.post("/console/sign-in", link=made.text)
        assert await link_at_start(console.services) is None

    async def test_of_two_who_use_it_at_once_one_comes_in(self, console: Console):
        await key_of(console, Role.ADMIN)
        made = await make_link(console.services, LOCAL_OPERATOR, LinkWanted("olga", [Role.VIEWER]))
        link = await console.services.links.find(made.text)
        assert link is not None
        async with console.services.db.batch() as batch:
            console.services.links.use(batch, link, at=console.services.clock.micros())
        answer = await another(console).post("/console/sign-in", link=made.text)
        assert answer.status_code == 401
        assert await console.services.sessions.list("default") == []


async def test_without_keys_there_is_nothing_to_sign_in_to(console: Console, browser: Browser):
    answer = await browser.get("/console/sign-in")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/approvals")
    page = (await browser.get("/console/account")).text
    assert "demo-operator" in page
    assert "Sign out" not in page


async def test_a_session_says_nothing_once_its_person_is_only_a_name(console: Console):
    """The principal of a session is what was decided at sign-in, not what a form or header says."""
    await key_of(console, Role.VIEWER)
    made = await make_link(console.services, LOCAL_OPERATOR, LinkWanted("vera", [Role.VIEWER]))
    browser = another(console)
    await browser.post("/console/sign-in", link=made.text, subject="root", role="admin", tenant="evil")
    (session,) = await console.services.sessions.list("default")
    assert session.principal == Principal("default", "vera", frozenset({Role.VIEWER}), key_id=made.link.id)
