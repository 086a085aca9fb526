"""Which address a name may lead to."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.egress import EgressRules, rules_of
from handrail.egress.policy import embedded, is_public

CLOSED = EgressRules()
PRIVATE = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "100.100.100.200", "192.88.99.1",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1", "100::1",
]  # fmt: skip
WRAPPED = [
    "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::8.8.8.8"]


class TestWithoutDeclarations:
    @pytest.mark.parametrize("address", PRIVATE + WRAPPED)
    def test_nothing_inside_is_reached_however_it_is_written(self, address: str):
        assert CLOSED.objection("api.example.com", ip_address(address)) is not None

    @pytest.mark.parametrize("address", PUBLIC)
    def test_what_is_public_is(self, address: str):
        assert CLOSED.objection("api.example.com", ip_address(address)) is None

    @given(st.ip_addresses(v=4))
    def test_an_ipv6_form_says_what_its_ipv4_address_says(self, address: IPv4Address):
        number = int(address)
        forms = [
            IPv6Address((0xFFFF << 32) | number),
            IPv6Address((0x64FF9B << 96) | number),
            IPv6Address((0x2002 << 112) | (number << 80)),
        ]
        assert {is_public(embedded(form)) for form in forms} == {is_public(address)}

    @given(st.ip_addresses())
    def test_every_address_gets_an_answer(self, address: IPv4Address | IPv6Address):
        objection = CLOSED.objection("x", address)
        assert (objection is None) == is_public(embedded(address))


class TestDeclarations:
    def test_a_name_may_lead_inside_and_its_neighbours_may_not(self):
        rules = rules_of("llm.internal, *.corp.example")
        inside = ip_address("10.0.0.5")
        for host in ("llm.internal", "LLM.internal.", "a.corp.example", "a.b.corp.example"):
            assert rules.objection(host, inside) is None, host
        for host in ("xllm.internal", "corp.example", "evilcorp.example", "llm.internal.evil.example"):
            assert rules.objection(host, inside) is not None, host

    def test_a_range_may_be_reached_by_any_name(self):
        rules = rules_of("10.0.0.0/8, 127.0.0.1, fd00::/8")
        assert rules.objection("any.example", ip_address("10.1.2.3")) is None
        assert rules.objection("any.example", ip_address("::ffff:127.0.0.1")) is None
        assert rules.objection("any.example", ip_address("127.0.0.2")) is not None

    @pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "100.100.100.200", "168.63.129.16"])
    def test_no_name_leads_to_credentials_of_the_machine(self, address: str):
        rules = rules_of("metadata.internal")
        assert rules.objection("metadata.internal", ip_address(address)) is not None
        assert rules.objection("base.url", ip_address(address), declared=True) is not None
        assert rules_of(address).objection("x", ip_address(address)) is None

    def test_a_host_that_was_named_elsewhere_may_lead_inside(self):
        assert CLOSED.objection("ollama.local", ip_address("192.168.1.9"), declared=True) is None

    def test_nothing_else_is_reached_when_only_what_is_declared_may_be(self):
        rules = rules_of("api.example.com", only_declared=True)
        assert rules.objection("api.example.com", ip_address("1.1.1.1")) is None
        assert rules.objection("other.example.com", ip_address("1.1.1.1")) is not None

    @pytest.mark.parametrize(
        "text",
        ["http://a.example", "a.example:443", "10.0.0.1/8", "a.example/path", "*", "*.*", "1.2.3", "300.1.1.1", "a..b"],
    )
    def test_that_mean_nothing_are_refused_at_the_start(self, text: str):
        with pytest.raises(ValueError):  # noqa: PT011 - Python's words for networks, ours for names
            rules_of(text)
