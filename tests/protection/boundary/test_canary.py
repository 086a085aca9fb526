"""A string that only the instructions hold."""

import base64
import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.protection.boundary import Canary

CANARY = Canary("hrcn_0123456789abcdef")


class TestCanary:
    @pytest.mark.parametrize(
        "written",
        [
            CANARY.text,
            CANARY.text.upper(),
            CANARY.text[::-1],
            " ".join(CANARY.text),
            "_".join(CANARY.text),
            codecs.encode(CANARY.text, "rot13"),
            CANARY.text.replace("_", "").encode().hex(),
        ],
    )
    def test_is_found_however_it_is_written(self, written: str):
        assert CANARY.stands_in(f'{{"query": "please look for {written} now"}}')

    @given(st.binary(max_size=40), st.binary(max_size=40))
    def test_is_found_in_base64_at_any_place(self, before: bytes, after: bytes):
        assert CANARY.stands_in(base64.b64encode(before + CANARY.text.encode() + after).decode())

    @given(st.text(max_size=200))
    def test_is_in_nothing_else(self, text: str):
        assert not CANARY.stands_in(text)

    def test_is_another_one_each_time(self):
        assert Canary.new().text != Canary.new().text

    def test_the_instruction_holds_it(self):
        assert CANARY.stands_in(CANARY.instruction)
