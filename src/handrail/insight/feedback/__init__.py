"""Feedback: what users, staff, reviewers and other systems say about a conversation, each tied to turn and release.

Thumbs, CSAT, NPS, words and "was it resolved", value events in money, verdicts of reviews, verified cache hits. Acts
after a turn, by the API and the pages; a later word replaces an earlier one, which stays on record. Closed: what can't
be stored is refused, so that nobody believes it was counted; no turn depends on any of it.
"""

from handrail.insight.feedback.policy import (
    FeedbackKind,
    FeedbackRules,
    InvalidFeedback,
    Sample,
    require_amount,
    require_score,
    require_verdict,
)
from handrail.insight.feedback.records import (
    CacheVerification,
    Feedback,
    Source,
    ValueEvent,
    Verdict,
)
from handrail.insight.feedback.retention import FeedbackRetention
from handrail.insight.feedback.store import FeedbackStore

__all__ = [
    "CacheVerification",
    "Feedback",
    "FeedbackKind",
    "FeedbackRetention",
    "FeedbackRules",
    "FeedbackStore",
    "InvalidFeedback",
    "Sample",
    "Source",
    "ValueEvent",
    "Verdict",
    "require_amount",
    "require_score",
    "require_verdict",
]
