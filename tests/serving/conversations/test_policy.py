"""Who may read, and what a new turn does beside others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.serving.conversations import TurnStatus, next_step
from handrail.serving.conversations.policy import MOST_TITLE_CHARACTERS, title_of

RUNNING, QUEUED = TurnStatus.RUNNING, TurnStatus.QUEUED


@pytest.mark.parametrize(
    ("open_turns", "step"),
    [
        ([], "run"),
        ([RUNNING], "queue"),
        ([RUNNING, QUEUED, QUEUED], "queue"),
        ([RUNNING, QUEUED, QUEUED, QUEUED], "refuse"),
        ([QUEUED], "queue"),
        ([QUEUED, QUEUED, QUEUED], "refuse"),
    ],
)
def test_one_runs_three_wait_and_the_next_is_refused(open_turns: list[TurnStatus], step: str):
    assert next_step(open_turns) == step


PERSONAL = (
    "4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111", "ana.moss@example.org", "+31 6 1234 5678",
    "(020) 123 45 67", "123-45-6789", "GB29 NWBK 6016 1331 9268 19", "NL91ABNA0417164300",
    "\uff14\uff11\uff11\uff11 1111 1111 1111",
)  # fmt: skip


class TestTitle:
    @given(st.sampled_from(PERSONAL), st.integers(0, 90), st.sampled_from("ab\u5c3a\u00fc "))
    def test_holds_all_of_an_identifier_or_no_group_of_it(self, value: str, before: int, filling: str) -> None:
        title = title_of(f"{filling * before} {value}, thank you for looking into this as soon as you can, will you?")
        assert len(title) <= MOST_TITLE_CHARACTERS + 1
        assert value in title or not any(group in title for group in value.split())

    @pytest.mark.parametrize(
        ("message", "title"),
        [
            ("where is my order?", "where is my order?"),
            ("a" * 80, "a" * 80),
            (
                "where is my order, " * 5,
                "where is my order, where is my order, where is my order, where is my order,…",
            ),
            ("\u5c3a" * 90, "\u5c3a" * 80 + "…"),
            ("1" * 90, "…"),
        ],
    )
    def test_is_the_beginning_of_the_message(self, message: str, title: str) -> None:
        assert title_of(message) == title
