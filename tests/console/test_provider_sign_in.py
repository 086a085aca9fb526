"""Signing in at an identity provider: as people do it, as attackers try it, and while the provider is down."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc.jwk import ECKey

from handrail.bootstrap import services_from
from handrail.core.principal import Role
from handrail.flows.services import Services
from handrail.http.app import create_app
from handrail.protection.audit import AuditQuery
from handrail.settings import OidcSettings, Settings
from tests.console.identity_provider import CLIENT, SECRET, Claims, IdentityProvider, identity_provider

ORIGIN = "https://agents.example.com"
WAY = "/console/sign-in/provider"


@dataclass
class Desk:
    """A server whose people sign in at a provider, and a browser at it."""

    services: Services
    provider: IdentityProvider
    browser: httpx2.AsyncClient

    def another(self) -> httpx2.AsyncClient:
        app = create_app(self.services, port=8080)
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ORIGIN)

    async def leave(self, onward: str = "/console/jobs", browser: httpx2.AsyncClient | None = None) -> str:
        """Where the button sends the browser."""
        answer = await (browser or self.browser).get(WAY, params={"next": onward})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def sign_in(self, onward: str = "/console/jobs") -> httpx2.Response:
        """All the way there and back."""
        return await self.browser.get(self.provider.sign_in(await self.leave(onward)))

    async def is_in(self, browser: httpx2.AsyncClient | None = None) -> bool:
        return (await (browser or self.browser).get("/console/account")).status_code == 200

    async def actions(self) -> list[tuple[str, str]]:
        await self.services.audit.flush()
        found: list[tuple[str, str]] = []
        for tenant in ("default", "unknown"):
            found += [(each.action, each.target) for each in await self.services.audit.store.search(AuditQuery(tenant))]
        return found


def settings_of(folder: Path, issuer: str, **more: Any) -> Settings:
    oidc = {
        "issuer": issuer,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "address": ORIGIN,
        "name": "Example SSO",
        "roles_claim": "groups",
        "roles": "Ops=operator, Ops=approver, Readers=viewer",
        "teams_claim": "teams",
    }
    console = {"sign_ins_per_minute": 1, "sign_ins_burst": 100}
    return Settings(data_dir=folder, oidc=OidcSettings(**(oidc | more)), console=console)  # pyright: ignore[reportArgumentType]


@pytest.fixture
async def desk(tmp_path: Path, migrated_file: Path, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    shutil.copyfile(migrated_file, tmp_path / "handrail.db")
    async with (
        identity_provider() as provider,
        services_from(settings_of(tmp_path, provider.issuer, **getattr(request, "param", {}))) as services,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(create_app(services, port=8080)), base_url=ORIGIN) as browser,
    ):
        yield Desk(services, provider, browser)


class TestSigningIn:
    async def test_leads_there_and_back_to_the_page_that_was_asked_for(self, desk: Desk):
        page = await desk.browser.get("/console/jobs")
        assert page.status_code == 401
        assert "Sign in with Example SSO" in page.text
        assert f'href="{WAY}?next=/console/jobs"' in page.text
        answer = await desk.sign_in()
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/jobs")
        account = await desk.browser.get("/console/account")
        assert account.status_code == 200
        assert all(each in account.text for each in ("olga", "approver, operator", desk.provider.issuer))
        assert ("session.began", "session") in [(action, target[:7]) for action, target in await desk.actions()]

    async def test_asks_with_all_that_makes_the_answer_ours(self, desk: Desk):
        address = urlsplit(await desk.leave())
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        assert f"{address.scheme}://{address.netloc}{address.path}" == f"{desk.provider.issuer}/authorize"
        assert asked.keys() == {
            "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
            "code_challenge_method",
        }  # fmt: skip
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert asked["redirect_uri"] == f"{ORIGIN}{WAY}/callback"
        assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3

    async def test_keeps_what_it_needs_out_of_reach_of_scripts_and_other_sites_and_throws_it_away(self, desk: Desk):
        answer = await desk.browser.get(WAY)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-handrail-visit=")
        assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=600"} <= set(cookie.split("; "))
        await desk.browser.get(desk.provider.sign_in(answer.headers["location"]))
        assert list(desk.browser.cookies) == ["__Host-handrail"]

    @pytest.mark.parametrize(("is_down", "status"), [(False, 303), (True, 503)])
    async def test_many_who_come_first_at_once_read_the_provider_s_document_once(
        self, desk: Desk, is_down: bool, status: int
    ):
        desk.provider.is_down = is_down
        answers = await asyncio.gather(*(desk.browser.get(WAY) for _ in range(20)))
        assert {each.status_code for each in answers} == {status}
        assert desk.provider.readings == 1

    async def test_signs_out_for_good_and_on_record(self, desk: Desk):
        await desk.sign_in()
        before = dict(desk.browser.cookies)
        ours = {"sec-fetch-site": "same-origin"}
        assert (await desk.browser.post("/console/sign-out", headers=ours)).status_code == 303
        thief = desk.another()
        thief.cookies.update(before)
        assert (await desk.is_in(), await desk.is_in(thief)) == (False, False)
        assert "session.ended" in [action for action, _ in await desk.actions()]

    async def test_a_session_that_was_planted_ends_and_is_not_taken_over(self, desk: Desk):
        await desk.sign_in()
        planted = dict(desk.browser.cookies)
        await desk.sign_in()
        assert desk.browser.cookies["__Host-handrail"] != planted["__Host-handrail"]
        attacker = desk.another()
        attacker.cookies.update(planted)
        assert (await desk.is_in(), await desk.is_in(attacker)) == (True, False)

    @pytest.mark.parametrize(
        ("claims", "status", "said"),
        [
            ({"sub": "olga"}, 403, "none of what it says in 'groups' is a role here"),
            ({"sub": "olga", "groups": ["ops", "operator", "admin"]}, 403, "HANDRAIL_OIDC__ROLES"),
            ({"sub": "olga", "groups": {"Ops": True}}, 403, "is a role here"),
            ({"sub": "local-operator", "groups": ["Ops"]}, 401, "reserved"),
            ({"sub": "", "groups": ["Ops"]}, 401, "is not a name"),
            ({"sub": "a\nb", "groups": ["Ops"]}, 401, "is not a name"),
            ({"groups": ["Ops"]}, 401, "is not a name"),
        ],
    )
    async def test_lets_nobody_in_who_is_not_mapped(self, desk: Desk, claims: Claims, status: int, said: str):
        desk.provider.claims = claims
        answer = await desk.sign_in()
        assert (answer.status_code, said in answer.text.replace("&#39;", "'")) == (status, True), answer.text
        assert not await desk.is_in()
        assert ("access.denied", f"route:GET|{WAY}") in await desk.actions()

    @pytest.mark.parametrize("desk", [{"roles_claim": "email", "roles": "olga@example.com=admin"}], indirect=True)
    async def test_believes_no_address_that_the_provider_did_not_verify(self, desk: Desk):
        for verified, status in ((None, 401), (False, 401), ("true", 401), (True, 303)):
            desk.provider.claims = {"sub": "olga", "email": "olga@example.com", "email_verified": verified}
            assert (await desk.sign_in()).status_code == status

    @pytest.mark.parametrize("desk", [{"tenant_claim": "tid"}], indirect=True)
    async def test_puts_people_into_the_tenant_of_their_claim(self, desk: Desk):
        assert (await desk.sign_in()).status_code == 401
        desk.provider.claims |= {"tid": "acme"}
        assert (await desk.sign_in()).status_code == 303
        assert [each.tenant_id for each in await desk.services.sessions.list("acme")] == ["acme"]


def claims_with(**values: Any) -> Callable[[Claims], None]:
    return lambda claims: claims.update(values)


def claims_without(name: str) -> Callable[[Claims], None]:
    return lambda claims: void(claims.pop(name))


def void(_: object) -> None:
    return None


class TestAttacks:
    @pytest.mark.parametrize(
        ("alter", "said"),
        [
            (claims_with(nonce="another"), "another attempt"),
            (claims_without("nonce"), "another attempt"),
            (claims_with(nonce=["x"]), "another attempt"),
            (claims_with(iss="https://evil.example"), "issuer"),
            (claims_with(aud="another-client"), "not for"),
            (claims_with(aud=[CLIENT, "another"]), "another client"),
            (claims_with(aud=[CLIENT, "another"], azp="another"), "another client"),
            (claims_with(azp="another"), "another client"),
            (claims_with(exp=1), "expired"),
            (claims_without("exp"), "never expires"),
            (claims_with(iat=1), "just now"),
            (claims_without("iat"), "just now"),
        ],
    )
    async def test_a_token_for_somebody_or_something_else_lets_nobody_in(
        self, desk: Desk, alter: Callable[[Claims], None], said: str
    ):
        desk.provider.alter = alter
        answer = await desk.sign_in()
        assert (answer.status_code, said in answer.text) == (401, True), answer.text
        assert not await desk.is_in()

    async def test_a_token_that_another_key_signed_lets_nobody_in(self, desk: Desk):
        desk.provider.signs_with = ECKey.generate_key("P-256")
        assert (await desk.sign_in()).status_code == 401
        assert not await desk.is_in()

    async def test_an_answer_is_good_in_the_browser_that_asked_for_it_and_nowhere_else(self, desk: Desk):
        """Neither a stolen answer, nor one of the attacker's own that a victim is sent to."""
        stolen = desk.provider.sign_in(await desk.leave())
        other = desk.another()
        assert (await other.get(stolen)).status_code == 401
        await desk.leave(browser=other)
        assert (await other.get(stolen)).status_code == 401
        assert not await desk.is_in(other)
        assert desk.provider.exchanges == []

    async def test_an_answer_is_good_once_even_where_the_provider_takes_a_code_twice(self, desk: Desk):
        desk.provider.once = False
        address = desk.provider.sign_in(await desk.leave())
        kept = dict(desk.browser.cookies)
        assert (await desk.browser.get(address)).status_code == 303
        again = desk.another()
        again.cookies.update(kept)
        replayed = await again.get(address)
        assert (replayed.status_code, "used" in replayed.text) == (401, True)
        assert not await desk.is_in(again)

    async def test_a_visit_ends_after_ten_minutes(self, desk: Desk):
        address = desk.provider.sign_in(await desk.leave())
        secret, at, onward = desk.browser.cookies["__Host-handrail-visit"].split(".")
        old = desk.another()
        old.cookies.set("__Host-handrail-visit", f"{secret}.{int(at) - 601}.{onward}")
        answer = await old.get(address)
        assert (answer.status_code, "ten minutes" in answer.text) == (401, True)

    async def test_a_code_that_was_read_on_the_way_is_of_no_use(self, desk: Desk):
        """The attacker puts the victim's code into an answer to a visit of their own."""
        victims = parse_qs(urlsplit(desk.provider.sign_in(await desk.leave())).query)
        attacker = desk.another()
        own = parse_qs(urlsplit(await desk.leave(browser=attacker)).query)
        mixed = {"code": victims["code"][0], "state": own["state"][0], "iss": desk.provider.issuer}
        answer = await attacker.get(f"{WAY}/callback", params=mixed)
        assert (answer.status_code, len(desk.provider.exchanges)) == (401, 1)
        assert not await desk.is_in(attacker)

    @pytest.mark.parametrize("issuer", ["https://evil.example", "", None])
    async def test_an_answer_of_another_provider_is_told_by_its_issuer(self, desk: Desk, issuer: str | None):
        state = parse_qs(urlsplit(await desk.leave()).query)["state"][0]
        params = {"code": "stolen", "state": state} | ({} if issuer is None else {"iss": issuer})
        answer = await desk.browser.get(f"{WAY}/callback", params=params)
        assert (answer.status_code, "does not come from Example SSO" in answer.text) == (401, True)
        assert desk.provider.exchanges == []

    @pytest.mark.parametrize(
        "onward",
        ["https://evil.example", "//evil.example", "/\\evil.example", "/console/../x", "javascript:alert(1)",
         "/console//evil.example", "/console/jobs?x=1", "/console/sign-in/provider", "a" * 5000],
    )  # fmt: skip
    async def test_it_leads_to_pages_of_this_console_only(self, desk: Desk, onward: str):
        answer = await desk.sign_in(onward)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console/approvals"

    async def test_where_it_leads_can_not_be_changed_on_the_way(self, desk: Desk):
        address = desk.provider.sign_in(await desk.leave("/console/jobs"))
        cookie = desk.browser.cookies["__Host-handrail-visit"]
        changed = desk.another()
        changed.cookies.set("__Host-handrail-visit", cookie.replace("~jobs", "~switches"))
        assert (await changed.get(address)).status_code == 401

    async def test_what_the_provider_says_is_no_markup(self, desk: Desk):
        for error in ("access_denied", "<script>alert(1)</script>", "x" * 5000):
            state = parse_qs(urlsplit(await desk.leave()).query)["state"][0]
            params = {"error": error, "error_description": "<b>", "state": state, "iss": desk.provider.issuer}
            answer = await desk.browser.get(f"{WAY}/callback", params=params)
            assert answer.status_code == 401
            assert "<script>alert" not in answer.text
            assert ("access_denied" in answer.text) is (error == "access_denied")

    async def test_an_answer_that_says_something_twice_is_none(self, desk: Desk):
        address = desk.provider.sign_in(await desk.leave())
        assert (await desk.browser.get(f"{address}&code=other")).status_code == 401

    async def test_attempts_are_limited_by_address(self, desk: Desk):
        statuses = [(await desk.browser.get(f"{WAY}/callback")).status_code for _ in range(101)]
        assert (statuses[0], statuses[-1]) == (401, 429)


class TestTheProvider:
    async def test_that_is_down_is_said_to_be_and_a_key_still_works(self, desk: Desk):
        desk.provider.is_down = True
        answer = await desk.browser.get(WAY)
        assert (answer.status_code, "can&#39;t be asked" in answer.text) == (503, True)
        assert "API key" in answer.text
        services = desk.services
        key = await services.keys.create(
            tenant_id="default", subject="eva", role=Role.OPERATOR, at=services.clock.micros()
        )
        services.authenticator.forget()
        ours = {"sec-fetch-site": "same-origin"}
        signed_in = await desk.browser.post("/console/sign-in", data={"key": key.text}, headers=ours)
        assert signed_in.status_code == 303

    @pytest.mark.parametrize(
        "document",
        [
            {"issuer": "https://evil.example"},
            {"authorization_endpoint": "http://evil.example/authorize"},
            {"authorization_endpoint": "javascript:alert(1)"},
            {"token_endpoint": "http://169.254.169.254/latest/meta-data"},
            {"token_endpoint": 7},
            {"jwks_uri": "file:///etc/passwd"},
        ],
    )
    async def test_is_not_followed_where_it_must_not_lead(self, desk: Desk, document: dict[str, Any]):
        desk.provider.document = document
        assert (await desk.browser.get(WAY)).status_code == 503

    async def test_leads_to_no_private_address_that_nobody_declared(self, desk: Desk):
        desk.provider.document = {"token_endpoint": "https://10.1.2.3/token"}
        answer = await desk.sign_in()
        assert (answer.status_code, "gives no token" in answer.text) == (503, True)

    async def test_means_that_nothing_is_open_without_a_key(self, desk: Desk):
        """Without any keys the console is the operator's at this machine; a provider is a way in like a key."""
        assert (await desk.browser.get("/v1/conversations")).status_code == 401
        assert (await desk.browser.get("/console/jobs")).status_code == 401

    async def test_leaves_no_secret_in_what_is_said(self, desk: Desk):
        await desk.sign_in()
        assert SECRET not in repr(desk.services.provider)
        assert json.dumps(SECRET) not in str(desk.provider.exchanges)
