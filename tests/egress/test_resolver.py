"""Judged after resolution, connected to what was judged."""

import socket
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest
from aiohttp import web

from handrail.egress import Egress, EgressRefused, rules_of
from handrail.egress.resolver import system_addresses
from handrail.egress.session import outbound_session


def names(**table: Sequence[str]):
    """A resolver with these names, dots written as underscores; everything else as the system has it."""

    async def resolve(host: str, port: int) -> Sequence[tuple[str, int]]:
        known = table.get(host.replace(".", "_"))
        return [(address, port) for address in known] if known is not None else await system_addresses(host, port)

    return resolve


class TestAddresses:
    async def test_of_a_name_that_leads_inside_are_refused_with_a_way_out(self):
        egress = Egress(resolve=names(rebind_example=["10.0.0.1", "::1"]))
        with pytest.raises(EgressRefused, match=r"'rebind\.example': 10\.0\.0\.1 is private.*HANDRAIL_EGRESS__ALLOW"):
            await egress.addresses("rebind.example", 443)

    async def test_that_may_be_reached_are_left_when_others_may_not(self):
        egress = Egress(resolve=names(mixed_example=["127.0.0.1", "1.1.1.1", "1.1.1.1"]))
        assert await egress.addresses("mixed.example", 443) == [("1.1.1.1", 443)]

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "2130706433", "0x7f000001", "017700000001", "127.1", "0", "localhost", "::1", "::ffff:127.0.0.1"],
    )
    async def test_of_this_machine_are_refused_however_they_are_written(self, host: str):
        with pytest.raises((EgressRefused, socket.gaierror)):
            await Egress().addresses(host, 80)

    async def test_nothing_is_judged_that_the_resolver_made_up(self):
        with pytest.raises(EgressRefused, match="is no address"):
            await Egress(resolve=names(odd_example=["not an address"])).addresses("odd.example", 80)


class TestSession:
    @pytest.fixture
    async def port(self) -> AsyncIterator[int]:
        """Of a server that answers, and sends some on to where they must not go."""

        async def hello(_: web.Request) -> web.Response:
            return web.Response(text="hello")

        async def away(request: web.Request) -> web.Response:
            raise web.HTTPFound(request.query["to"])

        app = web.Application()
        app.add_routes([web.get("/hello", hello), web.get("/away", away)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
        await runner.cleanup()

    async def test_refuses_addresses_and_names_of_this_machine(self, port: int):
        async with outbound_session(Egress()) as session:
            for host in ("127.0.0.1", "localhost", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]"):
                with pytest.raises(aiohttp.ClientError):
                    await session.get(f"http://{host}:{port}/hello")

    async def test_connects_to_what_was_declared(self, port: int):
        async with outbound_session(Egress(rules_of("localhost"))) as session:
            assert await (await session.get(f"http://localhost:{port}/hello")).text() == "hello"
        async with outbound_session(Egress(), declared=frozenset({"127.0.0.1"})) as session:
            assert await (await session.get(f"http://127.0.0.1:{port}/hello")).text() == "hello"

    async def test_connects_to_the_address_that_was_judged_and_asks_no_second_time(self, port: int):
        asked: list[str] = []

        async def rebinding(host: str, port: int) -> Sequence[tuple[str, int]]:
            asked.append(host)
            return [("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port)]

        async with outbound_session(Egress(rules_of("127.0.0.1"), rebinding)) as session:
            assert await (await session.get(f"http://rebind.example:{port}/hello")).text() == "hello"
            assert asked == ["rebind.example"]
            with pytest.raises(aiohttp.ClientOSError, match=r"127\.0\.0\.2 is private"):
                await session.get(f"http://rebind.example:{port}/hello")

    async def test_follows_no_redirect_to_where_it_may_not_go(self, port: int):
        async with outbound_session(Egress(rules_of("localhost"))) as session:
            for host in ("127.0.0.1", "2130706433", "169.254.169.254", "[::1]"):
                with pytest.raises(aiohttp.ClientError):
                    await session.get(f"http://localhost:{port}/away", params={"to": f"http://{host}:{port}/hello"})

    async def test_heeds_no_proxy_of_the_environment(self, port: int, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        async with outbound_session(Egress(rules_of("localhost"))) as session:
            assert (await session.get(f"http://localhost:{port}/hello")).status == 200
