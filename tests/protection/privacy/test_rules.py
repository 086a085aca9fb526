"""The rules find what has a form, and let numbers that only look like it be."""

import pytest

from handrail.protection.privacy import Kind, find_structured


def found(text: str, previous: str | None = None) -> list[tuple[str, str]]:
    return [(span.kind.value, text[span.start : span.end]) for span in find_structured(text, previous)]


class TestFinds:
    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (Kind.CARD, "4111111111111111"),
            (Kind.CARD, "4111 1111 1111 1111"),
            (Kind.CARD, "4111.1111.1111.1111"),
            (Kind.CARD, "2223-0000-4841-0010"),
            (Kind.CARD, "3782 822463 10005"),
            (Kind.CARD, "6011000990139424"),
            (Kind.CARD, "30569309025904"),
            (Kind.CARD, "3530111333300000"),
            (Kind.IBAN, "DE89 3704 0044 0532 0130 00"),
            (Kind.IBAN, "de89370400440532013000"),
            (Kind.IBAN, "GB29-NWBK-6016-1331-9268-19"),
            (Kind.IBAN, "NO9386011117947"),
            (Kind.SSN, "247-73-1291"),
            (Kind.EMAIL, "ann.b+x@example.co.uk"),
            (Kind.EMAIL, "o'neill@example.com"),
            (Kind.EMAIL, "ann (at) example (dot) com"),
            (Kind.EMAIL, "ann [at] example.com"),
            (Kind.EMAIL, "ann.lee at gmail.com"),
            (Kind.EMAIL, "annlee at example dot org"),
            (Kind.PHONE, "+44 7200 153045"),
            (Kind.PHONE, "(617) 721-8085"),
            (Kind.PHONE, "415.454.3139"),
            (Kind.PHONE, "+1 206 304 1519"),
            (Kind.PHONE, "415-555-2671 ext 12"),
            (Kind.IP, "85.138.195.222"),
            (Kind.IP, "2a00:1450:4001:81b::200e"),
            (Kind.API_KEY, "AKIAQZIT5UEA5GENQIWE"),
            (Kind.API_KEY, "ghp_" + "aB3" * 12),
            (Kind.API_KEY, "sk-proj-abcdefghijklmnop1234"),
            (Kind.API_KEY, "glpat-abcdefGHIJ0123456789"),
            (Kind.API_KEY, "AIza" + "Sy0-_" * 7),
        ],
    )
    def test_what_has_a_form(self, kind: Kind, value: str) -> None:
        assert (kind.value, value) in found(f"hello, please note {value} and reply.")
        assert (kind.value, value) in found(value)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("my ssn is 247731291", [("SSN", "247731291")]),
            ("last four of my social: 9999", [("SSN", "9999")]),
            ("call me on 4155552671", [("PHONE", "4155552671")]),
            ("her number is 4047434831", [("PHONE", "4047434831")]),
            ("my card 5404332181960013 is declined", [("CARD", "5404332181960013")]),
            ("login from 10.2.3.44", [("IP", "10.2.3.44")]),
            ('api_key = "f3a9c0d1e2b34455aabb"', [("API_KEY", "f3a9c0d1e2b34455aabb")]),
            ("token: 7f4e1d2c3b4a59687f4e", [("API_KEY", "7f4e1d2c3b4a59687f4e")]),
        ],
    )
    def test_a_bare_number_that_is_called_by_its_name(self, text: str, expected: list[tuple[str, str]]) -> None:
        assert found(text) == expected

    @pytest.mark.parametrize(
        ("previous", "text", "expected"),
        [
            ("What are the last four digits of your SSN?", "9999", [("SSN", "9999")]),
            ("What is your social security number?", "its 247731291", [("SSN", "247731291")]),
            ("Which number can we call you back on? I need a phone number.", "4155552671", [("PHONE", "4155552671")]),
            ("What's your order number?", "4155552671", []),
            ("Which order is it?", "9999", []),
            (None, "9999", []),
        ],
    )
    def test_a_bare_number_that_was_asked_for(
        self, previous: str | None, text: str, expected: list[tuple[str, str]]
    ) -> None:
        assert found(text, previous) == expected


class TestLeavesAlone:
    @pytest.mark.parametrize(
        "text",
        [
            "My order 4000-1234-757924 arrived with item SKU 8839-22-1 missing.",
            "Can I exchange item 4896585277 for item 6454334990?",
            "error code 0x80070057 after firmware 10.2.3.44 update, model XR-946335",
            "firmware 8.8.4.4 is out",
            "refund id RF9468772547470",
            "tracking number is 1Z163556775486484",
            "order 4111111111111111",
            "ticket 247-73-1291",
            "4111 1111 1111 1112 was refused",
            "000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000",
            "ends in 4242, exp 04/29 cvv 123",
            "GB29NWBK60161331926818",
            "the basic questions and the bearer certificates",
            "look at chapter 12 at home, meet me at 10:20:30",
            "std::vector and a::b at 12:30",
            "on 2024-05-12 and 05/12/2024 for $1,299.00",
            "@ann, a@b, 5 @ 3.50",
            "192.168.100.200 is my router",
            "conv_01912345678901234567890123456789",
            "the secret is patience",
        ],
    )
    def test_numbers_that_only_look_like_it(self, text: str) -> None:
        assert found(text) == []

    def test_an_order_id_that_passes_every_check_of_a_card(self) -> None:
        assert found("order number 4532015112830366 please") == []
        assert found("4532015112830366 please") == [("CARD", "4532015112830366")]


class TestAdversaries:
    @pytest.mark.parametrize(
        "value",
        [
            "\uff14\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11",
            "4111\u200b1111\u200b1111\u200b1111",
            "4111\u00a01111\u00a01111\u00a01111",
            "4111\u20111111\u20111111\u20111111",
            "4111\u00ad1111\u00ad1111\u00ad1111",
            "٤١١١ ١١١١ ١١١١ ١١١١",
            "𝟒𝟏𝟏𝟏 𝟏𝟏𝟏𝟏 𝟏𝟏𝟏𝟏 𝟏𝟏𝟏𝟏",
        ],
    )
    def test_exotic_characters_hide_no_card(self, value: str) -> None:
        assert found(f"pay with {value} now") == [("CARD", value)]

    def test_a_full_width_at_sign_hides_no_mail(self) -> None:
        assert found("ann\uff20example\uff0ecom") == [("EMAIL", "ann\uff20example\uff0ecom")]

    @pytest.mark.parametrize(
        "piece", ["1 ", "1.", "a@", "a.", "(0", "+1 ", "::", "AA11 ", "ssn ", "eyJa.", " at ", "\u200b"]
    )
    def test_long_texts_of_one_piece_end(self, piece: str) -> None:
        for span in find_structured(piece * (4_000 // len(piece))):
            assert 0 <= span.start < span.end
