"""Scorecard: what became of every conversation, and the sums of it that dashboards, reports and alerts read.

Promise: no share without the number of conversations and users behind it, and no measure that was not measured. Acts
after the turn, in the background: a turn leaves one row that says "count this conversation anew". Fails open: what
can't be counted now is counted later, and no turn waits for it.
"""

from handrail.insight.scorecard.baselines import Baseline, BaselineStore, InvalidBaseline, given
from handrail.insight.scorecard.facts import (
    DEFAULT_WINDOW_MICROS,
    ConversationFact,
    Status,
    closed_without_words,
    counted,
    fact_of,
    intent_of,
)
from handrail.insight.scorecard.measures import (
    MEASURES,
    PERCENTILES,
    Line,
    Measure,
    judged,
    latency_key,
)
from handrail.insight.scorecard.objectives import WINDOWS, Burn, ErrorBudget, burns
from handrail.insight.scorecard.percentiles import percentile_of
from handrail.insight.scorecard.rollup import ANY_UNPRICED, MODEL, Additions, account, contribution_of, whole
from handrail.insight.scorecard.statistics import (
    FEWEST,
    NOTHING,
    Estimate,
    Sums,
    difference,
    mean,
    share,
    weighted,
    weighted_share,
)
from handrail.insight.scorecard.store import Change, FactStore, Place, StoredFact
from handrail.insight.scorecard.transcripts import (
    UNPRICED,
    CallRecord,
    FeedbackRecord,
    Transcript,
    TurnRecord,
    Unpriced,
    UsageRecord,
)

__all__ = [
    "ANY_UNPRICED",
    "DEFAULT_WINDOW_MICROS",
    "FEWEST",
    "MEASURES",
    "MODEL",
    "NOTHING",
    "PERCENTILES",
    "UNPRICED",
    "WINDOWS",
    "Additions",
    "Baseline",
    "BaselineStore",
    "Burn",
    "CallRecord",
    "Change",
    "ConversationFact",
    "ErrorBudget",
    "Estimate",
    "FactStore",
    "FeedbackRecord",
    "InvalidBaseline",
    "Line",
    "Measure",
    "Place",
    "Status",
    "StoredFact",
    "Sums",
    "Transcript",
    "TurnRecord",
    "Unpriced",
    "UsageRecord",
    "account",
    "burns",
    "closed_without_words",
    "contribution_of",
    "counted",
    "difference",
    "fact_of",
    "given",
    "intent_of",
    "judged",
    "latency_key",
    "mean",
    "percentile_of",
    "share",
    "weighted",
    "weighted_share",
    "whole",
]
