import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.protection.privacy import redact_event, redact_text
from handrail.protection.privacy.redaction import MOST_CHARACTERS


def _redact(**fields: Any) -> dict[str, Any]:
    return redact_event(None, "info", {"event": "turn completed", **fields})


class TestRedactText:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("mail ann.b+x@example.co.uk now", "mail [email] now"),
            ("<jürgen@müller.example>", "<[email]>"),
            ("card 4111 1111 1111 1111.", "card [card]."),
            ("card 4111-1111-1111-1111", "card [card]"),
            ("378282246310005", "[card]"),
            ("to DE89 3704 0044 0532 0130 00 please", "to [iban] please"),
            ("GB29NWBK60161331926819", "[iban]"),
            ("call +49 (0)151 2345-6789", "call [phone]"),
            ("call 0049 30 1234567!", "call [phone]!"),
            ("call 030/1234567", "call [phone]"),
            ("call (415) 555-2671 or 415.555.2671", "call [phone] or [phone]"),
            ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer [secret]"),
            ("key hr_abcd1234_" + "0f" * 32, "key [secret]"),
            ("cut hr_abcd1234_" + "0f" * 5, "cut [secret]"),
            ("hrop_" + "ab" * 32, "[secret]"),
            ("sk-proj-abcdefghijklmnop1234", "[secret]"),
            ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_123", "[secret]"),
            ("ann@example.com, bob@example.com", "[email], [email]"),
        ],
    )
    def test_masks_what_is_personal_or_secret(self, text: str, expected: str) -> None:
        assert redact_text(text) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "where is order A1001?",
            "2026-01-01T10:20:30.123456Z took 1234.5678 ms",
            "conv_019abcdef0123456789abcdef0123456",
            "conv_01912345678901234567890123456789",
            "192.168.100.200:5432",
            "4111 1111 1111 1112",
            "GB29NWBK60161331926818",
            "1767225600000000",
            "max_tokens=4096, S3, e2e, a@b",
            "rel_3f9a8b7c6d5e4f3a2b1c",
            "error 500 at line 1234 of 5678",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "risk-free and task-based, mask_of",
            "",
        ],
    )
    def test_leaves_ids_times_numbers_and_near_misses_alone(self, text: str) -> None:
        assert redact_text(text) == text

    def test_bounds_the_length_and_says_how_long_it_was(self) -> None:
        text = redact_text("word " * 10_000)

        assert len(text) < MOST_CHARACTERS + 40
        assert text.endswith("... (50000 characters)")

    @given(
        st.integers(0, 2 * MOST_CHARACTERS), st.sampled_from(["ann@example.com", "4111111111111111", "+4915123456789"])
    )
    def test_never_shows_half_of_something_at_the_cut(self, position: int, personal: str) -> None:
        text = "x " * (position // 2) + personal + " y" * 3000

        redacted = redact_text(text)

        assert not any(personal[:n] in redacted for n in (6, len(personal)))

    @pytest.mark.parametrize("piece", ["a", "1", "1 ", "a@", "a.", "+1", "A1", "eyJa.", "Bearer ", "hr_", "(0", "4-"])
    def test_takes_linear_time_on_anything(self, piece: str) -> None:
        text = piece * (16_000 // len(piece))

        start = time.process_time()
        redact_text(text, 16_000)

        assert time.process_time() - start < 0.25

    @given(st.text(max_size=200))
    def test_changes_nothing_more_the_second_time(self, text: str) -> None:
        once = redact_text(text)

        assert redact_text(once) == once


class TestRedactEvent:
    @pytest.mark.parametrize("key", ["content", "message_text", "arguments", "Text", "prompt", "result", "messages"])
    def test_drops_what_people_said_and_tools_were_given(self, key: str) -> None:
        assert _redact(**{key: "my secret wish"}, turn_id="turn_1") == {
            "event": "turn completed",
            "turn_id": "turn_1",
        }

    @pytest.mark.parametrize("key", ["authorization", "Authorization", "password", "api_key", "token"])
    def test_masks_the_value_of_a_secret_whatever_it_looks_like(self, key: str) -> None:
        assert _redact(**{key: "hunter2"})[key] == "[secret]"

    def test_reaches_into_nested_values(self) -> None:
        redacted = _redact(
            headers={"Authorization": "x", "from": "ann@example.com"},
            items=[{"text": "said", "to": ("bob@example.com", 4111111111111111)}],
        )

        assert redacted["headers"] == {"Authorization": "[secret]", "from": "[email]"}
        assert redacted["items"] == [{"to": ["[email]", "[card]"]}]

    def test_masks_objects_that_a_renderer_would_print(self) -> None:
        @dataclass
        class Customer:
            email: str

        class Broken:
            def __repr__(self) -> str:
                raise RuntimeError("no")

        redacted = _redact(
            customer=Customer("ann@example.com"),
            error=ValueError("ann@example.com"),
            raw=b"ann@example.com",
            bad=Broken(),
        )

        assert "ann" not in repr(redacted)
        assert redacted["error"] == "ValueError('[email]')"
        assert redacted["bad"] == "[withheld]"

    def test_keeps_numbers_and_flags_as_they_are(self) -> None:
        fields = {"count": 3, "at": 1767225600000000, "ms": 1.5, "ok": True, "none": None}

        assert _redact(**fields) == {"event": "turn completed", **fields}

    def test_masks_a_stack_trace_and_gives_it_more_room(self) -> None:
        redacted = _redact(exception="Traceback\n" + "  line\n" * 1000 + "ValueError: ann@example.com")

        assert redacted["exception"].endswith("ValueError: [email]")

    def test_bounds_depth_and_breadth(self) -> None:
        deep: Any = "ann@example.com"
        for _ in range(50):
            deep = {"next": deep}

        redacted = _redact(deep=deep, wide=list(range(1000)), **{f"field_{n}": n for n in range(100)})

        assert "withheld" in repr(redacted["deep"])
        assert len(redacted["wide"]) == 51
        assert len(redacted) == 51

    def test_leaves_the_event_it_was_given_untouched(self) -> None:
        event = {"event": "hello", "to": {"email": "ann@example.com"}}

        redact_event(None, "info", event)

        assert event == {"event": "hello", "to": {"email": "ann@example.com"}}
