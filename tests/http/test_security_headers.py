"""What every answer says to browsers, and which pages of other sites may call: none, unless named."""

import pytest

from handrail.http.cors import Cors
from handrail.http.edge import Edge
from handrail.http.security_headers import NAMES_AND_VALUES, SecurityHeaders
from handrail.settings import HttpSettings
from tests.flows.world import World
from tests.http.api import Api, api_over

NAMES = [name.decode() for name, _ in NAMES_AND_VALUES]
APP = "https://app.example.com"


class TestEveryAnswer:
    @pytest.mark.parametrize(
        "path", ["/", "/console/chat", "/console/status", "/docs", "/openapi.json", "/metrics", "/healthz", "/readyz",
                 "/v1/conversations", "/v1/nothing", "/v1/conversations/conv_none"],
    )  # fmt: skip
    async def test_has_them(self, api: Api, path: str):
        answer = await api.get(path)
        missing = [name for name in NAMES if name not in answer.headers]
        assert (missing, answer.headers["x-content-type-options"]) == ([], "nosniff")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]

    async def test_has_them_when_it_refuses_or_fails(self, api: Api):
        conversation = await api.open()
        for answer in (
            await api.get("/v1/conversations", host="evil.example"),
            await api.post("/v1/conversations", {"nonsense": 1}),
            await api.post(f"/v1/conversations/{conversation}/turns", {"message": "hello"}, accept="text/event-stream"),
        ):
            assert [name for name in NAMES if name not in answer.headers] == []

    async def test_has_them_over_a_socket_and_nothing_of_how_they_got_there(self, live: Api):
        conversation = await live.open()
        body = {"message": "hello"}
        for answer in (
            await live.get("/v1/conversations"),
            await live.get("/console/chat"),
            await live.post(f"/v1/conversations/{conversation}/turns", body),
            await live.post(f"/v1/conversations/{conversation}/turns", body, accept="text/event-stream"),
            await live.get("/v1/conversations", host="evil.example"),
        ):
            names = [name for name, _ in answer.headers.multi_items()]
            assert [name for name in NAMES if name not in names] == []
            assert len(names) == len(set(names)), names
            assert not any("handrail-headers" in name for name in names)

    async def test_is_kept_by_nobody_unless_it_says_so(self, api: Api):
        assert (await api.get("/v1/conversations")).headers["cache-control"] == "no-store"
        page = await api.get("/console/chat")
        stylesheet = page.text.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
        assert "immutable" in (await api.get(stylesheet)).headers["cache-control"]

    async def test_says_each_header_once(self, api: Api):
        for path in ("/console/chat", "/v1/conversations"):
            names = [name for name, _ in (await api.get(path)).headers.multi_items()]
            assert len(names) == len(set(names)), names

    async def test_promises_tls_only_where_the_server_speaks_it(self, world: World, api: Api):
        assert "strict-transport-security" not in (await api.get("/healthz")).headers
        async with api_over(world, edge=Edge(headers=SecurityHeaders(tls=True))) as secure:
            assert "max-age=63072000" in (await secure.get("/healthz")).headers["strict-transport-security"]


class TestPagesOfOtherSites:
    async def test_may_read_nothing_by_default(self, api: Api):
        answer = await api.get("/v1/conversations", origin=APP)
        asked = await api.client.request(
            "OPTIONS", "/v1/conversations", headers={"origin": APP, "access-control-request-method": "POST"}
        )
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-origin" not in asked.headers
        assert (await api.post("/v1/conversations", {}, origin=APP)).status_code == 403

    async def test_may_call_when_their_origin_is_named(self, world: World):
        async with api_over(world, edge=Edge(cors=Cors([APP]))) as api:
            asked = await api.client.request(
                "OPTIONS", "/v1/conversations", headers={"origin": APP, "access-control-request-method": "POST"}
            )
            made = await api.post("/v1/conversations", {}, origin=APP)
        assert asked.status_code == 204
        assert "authorization" in asked.headers["access-control-allow-headers"]
        assert (made.status_code, made.headers["access-control-allow-origin"]) == (201, APP)
        assert "origin" in made.headers["vary"]
        assert "access-control-allow-credentials" not in {*asked.headers, *made.headers}

    @pytest.mark.parametrize(
        "origin",
        ["https://app.example.com.evil.example", "http://app.example.com", "https://app.example.com:8443", "null", "*"],
    )
    async def test_that_only_look_like_a_named_one_may_not(self, world: World, origin: str):
        async with api_over(world, edge=Edge(cors=Cors([APP]))) as api:
            answer = await api.get("/v1/conversations", origin=origin)
            assert "access-control-allow-origin" not in answer.headers
            assert (await api.post("/v1/conversations", {}, origin=origin)).status_code == 403

    @pytest.mark.parametrize(
        "text", ["*", "https://*", "app.example.com", "https://app.example.com/", "null", "ftp://a"]
    )
    def test_are_not_named_by_anything_but_an_origin(self, text: str):
        with pytest.raises(ValueError, match="no origin"):
            HttpSettings(cors_origins=text)


class TestSettings:
    def test_a_proxy_is_an_address_or_a_range(self):
        assert len(HttpSettings(trusted_proxies="10.0.0.0/8, 192.168.7.7").proxies) == 2
        for text in ("everybody", "10.0.0.1/8", "10.0.0.0/40"):
            with pytest.raises(ValueError, match="trusted_proxies"):
                HttpSettings(trusted_proxies=text)
