"""Who may read, and what a new turn does beside others."""

import pytest

from handrail.serving.conversations import TurnStatus, next_step

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
