"""Scorecard: what became of every conversation, and the sums of it that dashboards, reports and alerts read.

Promise: no share without the number of conversations and users behind it, and no measure that was not measured. Acts
after the turn, in the background: a turn leaves one row that says "count this conversation anew". Fails open: what
can't be counted now is counted later, and no turn waits for it.
"""

from handrail.insight.scorecard.baselines import Baseline, BaselineStore, InvalidBaseline, given
from handrail.insight.scorecard.measures import MEASURES, Line, Measure, judged
from handrail.insight.scorecard.objectives import WINDOWS, Burning, ErrorBudget, burning
from handrail.insight.scorecard.statistics import (
    FEWEST,
    NOTHING,
    Estimate,
    Sums,
    difference,
    mean,
    share,
    weighted_share,
    wilson,
)
from handrail.insight.scorecard.store import FactStore

__all__ = [
    "FEWEST",
    "MEASURES",
    "NOTHING",
    "WINDOWS",
    "Baseline",
    "BaselineStore",
    "Burning",
    "ErrorBudget",
    "Estimate",
    "FactStore",
    "InvalidBaseline",
    "Line",
    "Measure",
    "Sums",
    "burning",
    "difference",
    "given",
    "judged",
    "mean",
    "share",
    "weighted_share",
    "wilson",
]
