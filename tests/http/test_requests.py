"""What stands in addresses and headers: taken within its bounds, or refused by name."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from handrail.core.errors import HandrailError
from handrail.flows.audit_desk import Filter
from handrail.http.requests import MOST_KEY_CHARACTERS, idempotency_of, limit_of, parse_event_id
from handrail.telemetry.trace import trace_context
from tests.declared import only

NUMBERS = st.from_regex(r"0{0,12}[0-9]{1,12}", fullmatch=True) | st.integers().map(str) | st.floats().map(str)


def request(*, query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Request:
    return cast(Request, SimpleNamespace(query_params=query or {}, headers=headers or {}))


class TestLimit:
    @given(st.text(max_size=30) | NUMBERS)
    def test_any_text_is_a_number_within_the_bounds_or_refused(self, text: str) -> None:
        with only(HandrailError, says="limit"):
            assert 1 <= limit_of(request(query={"limit": text}), most=200) <= 200

    @pytest.mark.parametrize("text", ["0000000201", "0000000019999", "000000001" + "9" * 5_000, "²", "1_0", "+1", "-0"])
    def test_no_spelling_goes_round_the_bounds(self, text: str) -> None:
        with pytest.raises(HandrailError):
            limit_of(request(query={"limit": text}))


class TestEventId:
    @given(st.text(max_size=50) | st.builds("{}.{}".format, NUMBERS, NUMBERS))
    def test_any_text_is_one_that_the_stores_can_hold_or_refused(self, text: str) -> None:
        with only(HandrailError, says="Last-Event-ID"):
            found = parse_event_id(text)
            assert found is None or all(0 <= each < 2**63 for each in found)


class TestIdempotencyKey:
    @given(st.text(max_size=300))
    def test_any_text_is_a_key_or_refused(self, text: str) -> None:
        with only(HandrailError, says="Idempotency-Key"):
            scope: Any = idempotency_of(request(headers={"idempotency-key": text}), "turns", b"")
            assert scope.key == text
            assert 1 <= len(text) <= MOST_KEY_CHARACTERS


class TestTimes:
    @given(
        st.text(max_size=30)
        | st.datetimes(timezones=st.none() | st.timezones()).map(lambda at: at.isoformat())
        | st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
    )
    def test_any_text_is_a_time_that_the_stores_can_hold_or_refused(self, text: str) -> None:
        with only(HandrailError, says="since"):
            assert abs(Filter.of({"since": text}).since) < 2**63


class TestTraceparent:
    @given(
        st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True)
    )
    def test_any_text_gives_a_trace_id(self, text: str) -> None:
        found = trace_context(text).trace_id
        assert len(found) == 32
        assert set(found) <= set("0123456789abcdef")
        assert set(found) != {"0"}

    @given(st.text(max_size=600))
    def test_of_any_tracestate_only_what_a_header_may_hold_is_kept(self, text: str) -> None:
        kept = trace_context(f"00-{'1' * 32}-{'2' * 16}-01", text).state
        assert kept is None or (kept == text and len(kept) <= 512 and kept.isascii() and kept.isprintable())
