"""Scorecard: what became of every conversation, and the sums of it that dashboards, reports and alerts read.

Acts after the turn, in the background: a turn leaves one row that says "count this conversation anew". Fails open: what
can't be counted now is counted later, and no turn waits for it.
"""

from handrail.insight.scorecard.store import FactStore

__all__ = ["FactStore"]
