"""Who may do what: every route of the application, walked by everybody who should not get in.

What each route expects is declared in `expectations`; a route that is not declared fails the test.
"""

from base64 import b64encode
from collections.abc import Iterator, Set

import httpx2
import pytest
import websockets
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from joserfc import jwt
from joserfc.jwk import OctKey
from starlette.routing import BaseRoute, Route

from handrail.core.clock import Clock, FrozenClock
from handrail.core.principal import Principal, Role
from handrail.http.app import create_app
from handrail.protection.auth import Authenticator, Scope
from handrail.protection.auth.signing_keys import SharedSecret
from handrail.protection.auth.tokens import TokenVerifier
from handrail.settings import AuthSettings
from tests.flows.world import OPERATOR_TOKEN, World
from tests.http.api import ORIGIN, PORT, Api
from tests.http.building import Building, build
from tests.http.expectations import EXPECTATIONS, LET_IN, SCOPES, STAFF, Who


def routes_of(routes: list[BaseRoute]) -> Iterator[str]:
    for route in routes:
        if isinstance(route, APIWebSocketRoute):
            yield f"WEBSOCKET {route.path}"
        elif isinstance(route, APIRoute | Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield f"{method} {route.path}"
        else:
            inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
            assert inner, f"a kind of route this test does not know: {route!r}"
            yield from routes_of(inner)


@pytest.fixture
async def building(api: Api) -> Building:
    return await build(api)


@pytest.fixture
def app(world: World) -> FastAPI:
    return create_app(world.services, port=PORT)


async def test_every_route_says_who_may_use_it(app: FastAPI):
    found = set(routes_of(list(app.routes)))
    documented = {f"{method.upper()} {path}" for path, item in app.openapi()["paths"].items() for method in item}
    assert documented <= found
    assert found == EXPECTATIONS.keys()


def closed_to(*who: Who) -> list[str]:
    return [route for route, expects in EXPECTATIONS.items() if expects.who in who and route[:2] != "WE"]


GUARDED = closed_to(
    "any key",
    "owner",
    "staff",
    "approver",
    "approvers",
    "deciding",
    "reviewers",
    "operator",
    "operators",
    "admin",
    "local operator",
)


@pytest.mark.parametrize("route", GUARDED)
async def test_nobody_gets_in_without_a_key(building: Building, route: str):
    for key in (None, "hr_00000000_" + "0" * 64, "hrop_" + "1" * 64, "sk-something", building.owner[:-1], "hr_"):
        answer = await building.ask(route, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated"), key
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "plum" not in answer.text


@pytest.mark.parametrize("route", closed_to("owner"))
async def test_what_is_one_user_s_is_not_found_by_others(building: Building, route: str):
    for who, key in building.others.items():
        answer = await building.ask(route, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), who
        assert "plum" not in answer.text
        made_up = {name: f"{value[:-4]}ffff" for name, value in building.names.items()}
        missing = await Building(building.api, made_up, "", {}, {}).ask(route, key)
        assert missing.status_code == 404
        assert missing.json()["error"]["message"].replace("ffff", "") == answer.json()["error"]["message"].replace(
            building.names["turn_id"][-4:], ""
        ).replace(building.names["conversation_id"][-4:], "")


@pytest.mark.parametrize("route", closed_to("owner"))
async def test_what_is_one_user_s_is_theirs(building: Building, route: str):
    answer = await building.ask(route, building.owner)
    assert answer.status_code in (200, 201, 409), answer.text


@pytest.mark.parametrize(
    "route",
    closed_to(
        "staff", "approver", "approvers", "deciding", "reviewers", "operator", "operators", "admin", "local operator"
    ),
)
async def test_what_is_for_staff_is_refused_to_every_lower_role(building: Building, route: str):
    let_in = LET_IN.get(EXPECTATIONS[route].who, ())
    low = [building.owner, *(key for role, key in building.staff.items() if role not in let_in)]
    for key in low:
        answer = await building.ask(route, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied"), answer.text


@pytest.mark.parametrize("route", closed_to("staff", "deciding", "reviewers", "operator", "operators", "admin"))
async def test_what_is_for_staff_lets_them_in(building: Building, route: str):
    for role in LET_IN[EXPECTATIONS[route].who]:
        answer = await building.ask(route, building.staff[role])
        assert answer.status_code in (200, 201, 202), f"{role}: {answer.text}"


@pytest.mark.parametrize("route", closed_to("approver"))
async def test_what_is_for_approvers_asks_for_what_was_shown(building: Building, route: str):
    answer = await building.ask(route, building.staff[Role.APPROVER])
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "approval_conflict")
    stranger = await building.ask(route, building.others["another tenant's admin"])
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("route", closed_to("staff", "admin", "reviewers", "operator", "operators", "deciding"))
async def test_what_is_of_one_tenant_is_not_seen_by_another_s_admin(building: Building, route: str):
    answer = await building.ask(route, building.others["another tenant's admin"])
    if answer.status_code not in (403, 404):
        assert building.names["key_id"] not in answer.text
        assert building.api.world.release.id not in answer.text


@pytest.mark.parametrize("route", closed_to("any key"))
async def test_what_takes_any_key_shows_only_what_is_the_caller_s(building: Building, route: str):
    for key in building.others.values():
        answer = await building.ask(route, key)
        assert building.names["conversation_id"] not in answer.text
        assert "plum" not in answer.text


@pytest.mark.parametrize("route", closed_to("everybody", "page"))
async def test_what_is_open_shows_nothing_of_anybody(building: Building, route: str):
    for key in (None, building.others["another user"]):
        answer = await building.ask(route, key)
        assert answer.status_code < 500
        assert "plum" not in answer.text
        assert "demo-customer" not in answer.text


SECRET = OctKey.import_key(b"s" * 32)


def token(clock: Clock, subject: str, tenant: str = "default", *roles: str, secret: OctKey = SECRET) -> str:
    """What an identity provider says of somebody."""
    claims = {
        "iss": "https://login.example", "aud": "handrail", "sub": subject, "org": tenant, "roles": list(roles),
        "exp": clock.micros() // 1_000_000 + 600,
    }  # fmt: skip
    return jwt.encode({"alg": "HS256"}, claims, secret)


@pytest.fixture
async def with_tokens(building: Building) -> Building:
    """The same building, whose callers may also come with tokens."""
    services = building.api.world.services
    names = AuthSettings(
        secret="s", issuer="https://login.example", audience="handrail", tenant_claim="org", roles_claim="roles"
    )
    verifier = TokenVerifier(SharedSecret(b64encode(b"s" * 32).decode()), names, services.clock)
    services.authenticator = Authenticator(services.keys, services.clock, OPERATOR_TOKEN, verifier)
    return building


@pytest.mark.parametrize("route", GUARDED)
async def test_a_token_gets_in_where_its_subject_and_roles_do_and_nowhere_else(with_tokens: Building, route: str):
    clock, who = with_tokens.api.world.services.clock, EXPECTATIONS[route].who
    forged = token(clock, "ana", "default", "admin", secret=OctKey.import_key(b"x" * 32))
    assert (await with_tokens.ask(route, forged)).status_code == 401
    foreign = await with_tokens.ask(route, token(clock, "ana", "evil", *(role.value for role in STAFF)))
    assert "plum" not in foreign.text
    assert with_tokens.names["conversation_id"] not in foreign.text or foreign.status_code == 404
    if who == "owner":
        assert foreign.status_code == 404
        assert (await with_tokens.ask(route, token(clock, "bob"))).status_code == 404
        assert (await with_tokens.ask(route, token(clock, "ana"))).status_code in (200, 201, 409)
    elif who != "any key":
        low = (role for role in STAFF if role not in LET_IN.get(who, ()))
        for roles in ([], ["superuser"], ["end_user"], *([role.value] for role in low)):
            refused = await with_tokens.ask(route, token(clock, "ana", "default", *roles))
            assert refused.status_code == 403, roles
    if who == "local operator":
        everything = token(clock, "local-operator", "default", *(role.value for role in STAFF))
        assert (await with_tokens.ask(route, everything)).status_code == 401, "a reserved name"


SCOPED = [route for route in SCOPES if not route.startswith("WEBSOCKET")]


def test_every_route_of_the_api_says_its_scope():
    ours = {route for route, expects in EXPECTATIONS.items() if " /v1/" in route and expects.who != "local operator"}
    assert ours == SCOPES.keys()


async def scoped_key(building: Building, route: str, scopes: Set[str]) -> str:
    """A key of somebody whom the route lets in, narrowed to these."""
    roles = LET_IN.get(EXPECTATIONS[route].who)
    role = Role.END_USER if not roles else Role.APPROVER if Role.APPROVER in roles else roles[-1]
    services = building.api.world.services
    made = await services.keys.create(
        tenant_id="default",
        subject=role.value if roles else "ana",
        role=role,
        at=services.clock.micros(),
        scopes=sorted(scopes),
    )
    return made.text


@pytest.mark.parametrize("route", SCOPED)
async def test_a_key_with_other_scopes_is_refused_whatever_its_role(building: Building, route: str):
    for scope in SCOPES[route]:
        key = await scoped_key(building, route, {*Scope} - {scope})
        answer = await building.ask(route, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied"), answer.text
        assert scope in answer.json()["error"]["message"]
        assert "plum" not in answer.text


@pytest.mark.parametrize("route", SCOPED)
async def test_a_key_with_the_route_s_scope_alone_is_let_in(building: Building, route: str):
    answer = await building.ask(route, await scoped_key(building, route, SCOPES[route]))
    # A key that may only make keys can't make one that may do more; what was only shown once can't be decided here.
    if route in ("POST /v1/keys", "POST /v1/keys/{key_id}/rotate"):
        assert "is narrowed to keys:write" in answer.json()["error"]["message"]
    else:
        assert answer.status_code < 300 or answer.status_code == 409, answer.text


PAGES = closed_to("staff page", "operators page", "writers page", "admins page")


@pytest.mark.parametrize("route", PAGES)
async def test_a_page_for_staff_is_for_nobody_else(building: Building, route: str):
    for key in (None, building.owner, building.staff[Role.ADMIN], OPERATOR_TOKEN):
        answer = await building.ask(route, key)
        assert answer.status_code == (403 if route.startswith("POST") else 401), "a key is no session"
        assert "plum" not in answer.text
    assert (await building.look(route, None)).status_code == 401
    let_in = LET_IN[EXPECTATIONS[route].who]
    for role in (Role.END_USER, *STAFF):
        if role not in let_in:
            answer = await building.look(route, Principal("default", role.value, frozenset({role})))
            assert answer.status_code == 403, role
            assert "plum" not in answer.text
    assert (await building.api.get("/v1/approvals", key=building.staff[Role.VIEWER])).json()["data"]


@pytest.mark.parametrize("route", PAGES)
async def test_a_page_for_staff_lets_them_in_and_shows_nothing_of_other_tenants(building: Building, route: str):
    stranger = Principal("evil", "root", frozenset({*STAFF}))
    answer = await building.look(route, stranger)
    assert "plum" not in answer.text
    assert "lena" not in answer.text
    for role in LET_IN[EXPECTATIONS[route].who]:
        answer = await building.look(route, Principal("default", role.value, frozenset({role})))
        # A form that says nothing is told what it lacks.
        assert answer.status_code in ((200,) if route.startswith("GET") else (303, 404, 409, 422)), answer.text


async def test_a_session_is_narrowed_as_the_key_it_began_with(building: Building):
    operator = Principal("default", "oscar", frozenset({Role.OPERATOR}), frozenset({"jobs:read"}), "key_1")
    assert (await building.look("GET /console/jobs", operator)).status_code == 200
    assert (await building.look("GET /console/account", operator)).status_code == 200
    for route in set(PAGES) - {"GET /console/jobs", *(each for each in PAGES if "/account" in each or "sign-" in each)}:
        answer = await building.look(route, operator)
        assert answer.status_code == 403, route
        assert "plum" not in answer.text


async def test_staff_may_read_every_conversation_of_their_tenant_and_speak_in_none(building: Building):
    conversation = building.names["conversation_id"]
    for key in building.staff.values():
        assert (await building.api.get(f"/v1/conversations/{conversation}", key=key)).status_code == 200
        listed = (await building.api.get("/v1/conversations", key=key)).json()["data"]
        assert conversation in [each["id"] for each in listed]
        answer = await building.api.post(f"/v1/conversations/{conversation}/turns", {"message": "yes"}, key=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
        chat = await building.api.post(
            "/v1/chat/completions",
            {"model": "shop", "messages": [{"role": "user", "content": "yes"}]},
            key=key,
            x_handrail_conversation_id=conversation,
        )
        assert chat.status_code == 403


async def test_staff_read_handles_for_identifiers_unless_they_may_read_those(building: Building):
    api, address = building.api, "ann.lee@example.com"
    conversation = await api.open(building.owner)
    turn = (await api.say(conversation, f"I am {address}", key=building.owner))["id"]
    reads = [f"/v1/conversations/{conversation}", "/v1/conversations", f"/v1/turns/{turn}", f"/v1/turns/{turn}/events"]
    for role, key in building.staff.items():
        texts = [(await api.get(path, key=key)).text for path in reads]
        assert (address in "".join(texts)) == (role is Role.ADMIN), role
        assert ("<email_" in texts[0]) == (role is not Role.ADMIN), role
    assert address in (await api.get(reads[0], key=building.owner)).text


async def test_no_list_shows_staff_half_of_an_identifier(building: Building):
    api, told = building.api, "I would like to pay for it with the other card, which is the 4111 1111 1111 1111"
    conversation = await api.open(building.owner)
    await api.say(conversation, f"{told} one", key=building.owner)
    for role, key in building.staff.items():
        listed = {each["id"]: each["title"] for each in (await api.get("/v1/conversations", key=key)).json()["data"]}
        assert listed[conversation] == "I would like to pay for it with the other card, which is the…", role


async def test_a_conversation_goes_on_over_chat_completions_for_its_own_user_only(building: Building):
    conversation = building.names["conversation_id"]
    body = {"model": "shop", "messages": [{"role": "user", "content": "hello"}]}
    for who, key in building.others.items():
        answer = await building.api.post("/v1/chat/completions", body, key=key, x_handrail_conversation_id=conversation)
        assert answer.status_code == 404, who


async def test_the_operator_token_works_on_this_machine_only(building: Building, world: World):
    assert (await building.api.get("/v1/keys", key=OPERATOR_TOKEN)).status_code == 200
    transport = httpx2.ASGITransport(create_app(world.services, port=PORT), client=("10.1.2.3", 5))
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as remote:
        answer = await remote.get("/v1/keys", headers={"authorization": f"Bearer {OPERATOR_TOKEN}"})
    assert answer.status_code == 401


class TestWebSocket:
    async def test_opens_for_its_own_user_and_for_nobody_else(self, live: Api):
        owner, other, evil = await live.key("ana"), await live.key("bob"), await live.key("ana", tenant="evil")
        conversation = await live.open(owner)
        url = f"ws{str(live.client.base_url)[4:]}/v1/conversations/{conversation}/ws"
        for key in (None, other, evil, "hr_00000000_" + "0" * 64):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(url, additional_headers=headers)
            assert refused.value.response.status_code == 403
        async with websockets.connect(url, additional_headers={"authorization": f"Bearer {owner}"}):
            pass

    async def test_needs_its_scopes(self, live: Api):
        owner = await live.key("ana")
        conversation = await live.open(owner)
        url = f"ws{str(live.client.base_url)[4:]}/v1/conversations/{conversation}/ws"
        needed = SCOPES["WEBSOCKET /v1/conversations/{conversation_id}/ws"]
        services = live.world.services
        for scopes in ({*Scope} - {"turns:write"}, {*Scope} - {"conversations:read"}, needed):
            made = await services.keys.create(
                tenant_id="default",
                subject="ana",
                role=Role.END_USER,
                at=services.clock.micros(),
                scopes=sorted(scopes),
            )
            headers = {"authorization": f"Bearer {made.text}"}
            if scopes != needed:
                with pytest.raises(websockets.InvalidStatus):
                    await websockets.connect(url, additional_headers=headers)
                continue
            async with websockets.connect(url, additional_headers=headers):
                pass


class TestKeys:
    async def test_made_by_an_admin_works_until_it_is_revoked(self, building: Building):
        api, admin = building.api, building.staff[Role.ADMIN]
        made = (await api.post("/v1/keys", {"subject": "carl"}, key=admin)).json()
        assert (await api.get("/v1/conversations", key=made["key"])).status_code == 200
        listed = await api.get("/v1/keys", key=admin)
        assert made["key"] not in listed.text
        assert made["id"] in listed.text
        revoked = await api.client.delete(f"/v1/keys/{made['id']}", headers={"authorization": f"Bearer {admin}"})
        assert revoked.status_code == 200
        answer = await api.get("/v1/conversations", key=made["key"])
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
        assert "revoked" in answer.json()["error"]["message"]

    async def test_for_another_tenant_are_the_local_operator_s_to_make(self, building: Building):
        body = {"subject": "eve", "tenant": "evil", "role": "admin"}
        assert (await building.api.post("/v1/keys", body, key=building.staff[Role.ADMIN])).status_code == 403
        assert (await building.api.post("/v1/keys", body, key=OPERATOR_TOKEN)).status_code == 201

    async def test_with_scopes_hands_out_no_more_than_it_has(self, building: Building):
        api = building.api
        key = await scoped_key(building, "POST /v1/keys", {"keys:write", "turns:write"})
        for scopes in ([], ["jobs:write"], ["turns:write", "jobs:write"]):
            refused = await api.post("/v1/keys", {"subject": "eve", "role": "admin", "scopes": scopes}, key=key)
            assert refused.status_code == 403, scopes
        made = await api.post("/v1/keys", {"subject": "eve", "role": "admin", "scopes": ["turns:write"]}, key=key)
        assert made.status_code == 201
        narrow = await api.post(f"/v1/keys/{made.json()['id']}/rotate", {}, key=key)
        assert (narrow.status_code, narrow.json()["scopes"]) == (201, ["turns:write"])
        wide = await api.post(f"/v1/keys/{building.names['key_id']}/rotate", {}, key=key)
        assert wide.status_code == 403
        unknown = await api.post("/v1/keys", {"subject": "eve", "scopes": ["everything"]}, key=OPERATOR_TOKEN)
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (422, "invalid_body")

    async def test_rotated_works_beside_its_successor_until_the_grace_is_over(
        self, building: Building, world: World, clock: FrozenClock
    ):
        api, admin = building.api, building.staff[Role.ADMIN]
        made = (await api.post("/v1/keys", {"subject": "carl"}, key=admin)).json()
        new = (await api.post(f"/v1/keys/{made['id']}/rotate", {"grace_seconds": 60}, key=admin)).json()
        for key in (made["key"], new["key"]):
            assert (await api.get("/v1/conversations", key=key)).status_code == 200
        clock.advance(60)
        assert (await api.get("/v1/conversations", key=made["key"])).status_code == 401
        assert (await api.get("/v1/conversations", key=new["key"])).status_code == 200
        again = await api.post(f"/v1/keys/{made['id']}/rotate", {}, key=admin)
        assert (again.status_code, again.json()["error"]["code"]) == (400, "invalid_request")

    async def test_of_another_tenant_can_t_be_revoked(self, building: Building):
        evil = building.others["another tenant's admin"]
        answer = await building.api.client.delete(
            f"/v1/keys/{building.names['key_id']}", headers={"authorization": f"Bearer {evil}"}
        )
        assert answer.status_code == 404
        assert (await building.api.get("/v1/conversations", key=building.owner)).status_code == 200


class TestSwitches:
    async def test_are_set_and_ended_by_operators_and_admins_of_their_own_tenant(self, building: Building):
        for role in (Role.OPERATOR, Role.ADMIN):
            made = await building.ask("POST /v1/switches", building.staff[role])
            assert made.status_code == 201, made.text
            assert made.json()["tenant"] == "default"
            ended = await building.api.client.delete(
                f"/v1/switches/{made.json()['id']}", headers={"authorization": f"Bearer {building.staff[role]}"}
            )
            assert (ended.status_code, ended.json()["off"]) == (200, False)

    async def test_of_another_tenant_can_neither_be_seen_nor_ended(self, building: Building):
        evil = building.others["another tenant's admin"]
        answer = await building.ask("DELETE /v1/switches/{switch_id}", evil)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        listed = await building.api.get("/v1/switches?status=all", key=evil)
        assert building.names["switch_id"] not in listed.text
        assert "plum" not in listed.text

    async def test_of_a_tenant_do_nothing_to_another(self, building: Building):
        evil = building.others["another tenant's admin"]
        for body in (
            {"kind": "tenant", "name": "default", "reason": "mischief"},
            {"kind": "tool", "name": "get_order", "reason": "mischief", "tenant": "default"},
            {"kind": "agent", "name": "shop", "reason": "mischief", "tenant": "*"},
        ):
            answer = await building.api.post("/v1/switches", body, key=evil)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied"), body
        # What they name in their own tenant is their own.
        await building.api.post("/v1/switches", {"kind": "tool", "name": "get_order", "reason": "x"}, key=evil)
        board = building.api.world.services.switches
        assert board.find("tool", "default", "get_order") is None
        assert board.find("tool", "evil", "get_order") is not None

    async def test_that_hold_everywhere_are_the_local_operator_s_to_set_and_end(self, building: Building):
        body = {"kind": "tool", "name": "get_stock", "reason": "wrong figures"}
        made = (await building.api.post("/v1/switches", body, key=OPERATOR_TOKEN)).json()
        assert made["tenant"] is None
        admin = building.staff[Role.ADMIN]
        assert made["id"] in (await building.api.get("/v1/switches", key=admin)).text
        headers = {"authorization": f"Bearer {admin}"}
        refused = await building.api.client.delete(f"/v1/switches/{made['id']}", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
        headers = {"authorization": f"Bearer {OPERATOR_TOKEN}"}
        assert (await building.api.client.delete(f"/v1/switches/{made['id']}", headers=headers)).status_code == 200

    async def test_say_what_is_wrong_with_them(self, building: Building):
        admin = building.staff[Role.ADMIN]
        for body, code in (
            ({"kind": "database", "name": "x", "reason": "x"}, "invalid_body"),
            ({"kind": "tool", "name": "", "reason": "x"}, "invalid_body"),
            ({"kind": "tool", "name": "x", "reason": ""}, "invalid_body"),
            ({"kind": "tool", "name": "x", "reason": " \n"}, "invalid_body"),
            ({"kind": "tool", "name": " ", "reason": "x"}, "invalid_body"),
            ({"kind": "tool", "name": "x\0", "reason": "x"}, "invalid_body"),
            ({"kind": "tool", "name": "x", "reason": "x", "stop_running": True}, "invalid_request"),
            ({"kind": "agent", "name": "nobody", "reason": "x"}, "not_found"),
            ({"kind": "release", "name": "rel_nothing", "reason": "x"}, "not_found"),
            ({"kind": "release", "name": building.api.world.release.id, "reason": "x"}, "release_in_use"),
        ):
            answer = await building.api.post("/v1/switches", body, key=admin)
            assert answer.json()["error"]["code"] == code, body
