"""Where a request comes from: the connection, unless a declared proxy says otherwise."""

from hypothesis import given
from hypothesis import strategies as st

from handrail.core.addresses import address_of, networks_of
from handrail.http.client_address import Proxies
from handrail.http.edge import Edge
from tests.flows.world import World
from tests.http.api import api_over

PROXIES = Proxies(networks_of("10.0.0.0/8, 192.168.7.7, fd00::/8"))


class TestProxies:
    def test_none_is_trusted_by_default(self):
        assert not Proxies()
        assert not Proxies().trusts("127.0.0.1")

    def test_only_declared_ranges_are_trusted_however_the_address_is_written(self):
        assert PROXIES.trusts("10.1.2.3")
        assert PROXIES.trusts("::ffff:10.1.2.3")
        assert PROXIES.trusts("fd00::1")
        assert not PROXIES.trusts("192.168.7.8")
        assert not PROXIES.trusts("testclient")

    def test_the_nearest_hop_that_is_no_proxy_is_the_client(self):
        assert PROXIES.client("10.0.0.1", ["203.0.113.9"]) == "203.0.113.9"
        assert PROXIES.client("10.0.0.1", ["203.0.113.9, 10.0.0.2"]) == "203.0.113.9"
        assert PROXIES.client("10.0.0.1", ["[2001:db8::1]:4711", "10.0.0.2:80"]) == "2001:db8::1"

    def test_what_the_client_wrote_itself_is_never_reached(self):
        assert PROXIES.client("10.0.0.1", ["1.1.1.1, 10.9.9.9, 203.0.113.9"]) == "203.0.113.9"
        assert PROXIES.client("10.0.0.1", ["1.1.1.1", "203.0.113.9"]) == "203.0.113.9"

    def test_a_header_makes_nobody_local(self):
        for text in ("127.0.0.1", "::1", "[::1]:80", "::ffff:127.0.0.1", "127.9.9.9"):
            assert PROXIES.client("10.0.0.1", [text]) is None

    def test_what_is_no_address_is_nobody(self):
        for text in ("", "unknown", "_hidden", "203.0.113.9, ", "1.2.3", "0x7f.1", "a" * 10_000):
            assert PROXIES.client("10.0.0.1", [text]) is None, text

    @given(st.lists(st.text(max_size=40), max_size=60))
    def test_any_text_gives_an_address_or_nobody(self, hops: list[str]):
        found = PROXIES.client("10.0.0.1", hops or [""])
        assert found is None or ((address := address_of(found)) is not None and not address.is_loopback)

    @given(st.lists(st.ip_addresses(), min_size=1, max_size=8), st.ip_addresses())
    def test_whatever_a_client_sends_the_address_its_proxy_saw_wins(self, sent: list[object], real: object):
        text = f"{', '.join(map(str, sent))}, {real}"
        if PROXIES.trusts(str(real)) or (address := address_of(str(real))) is None or address.is_loopback:
            return
        assert PROXIES.client("10.0.0.1", [text]) == str(address)


class TestBehindAProxy:
    async def test_the_operators_token_works_from_this_machine_only_and_no_header_makes_it_so(self, world: World):
        edge = Edge(Proxies(networks_of("127.0.0.1")))
        async with api_over(world, edge=edge) as api:
            await api.key()
            token = world.services.authenticator._operator_token  # pyright: ignore[reportPrivateUsage]
            path = "/v1/keys"
            assert (await api.get(path, key=token)).status_code == 200
            for hop in ("203.0.113.9", "127.0.0.1", "nonsense"):
                answer = await api.get(path, key=token, x_forwarded_for=hop)
                assert answer.status_code == 401, hop

    async def test_an_undeclared_proxy_is_not_believed(self, world: World):
        async with api_over(world, client="203.0.113.9") as api:
            await api.key()
            token = world.services.authenticator._operator_token  # pyright: ignore[reportPrivateUsage]
            answer = await api.get("/v1/keys", key=token, x_forwarded_for="127.0.0.1")
            assert answer.status_code == 401

    async def test_without_keys_nobody_is_served_through_a_proxy(self, world: World):
        async with api_over(world) as api:
            for name in ("x_forwarded_for", "forwarded"):
                answer = await api.get("/v1/conversations", **{name: "for=203.0.113.9"})
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")
