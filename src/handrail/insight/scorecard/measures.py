"""The success measures: what each one is, how it is read off the facts, and what is said of it.

A conversation counts on the day on which it began, and only once its window has closed; the others are pending.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from handrail.core.latency import LATENCY_CLASSES
from handrail.insight.scorecard.percentiles import distance
from handrail.insight.scorecard.statistics import Estimate, difference

Kind = Literal["share", "mean", "money", "minutes", "points", "seconds"]
Group = Literal["business", "technical", "quality"]
Verdict = Literal["met", "missed", "unclear", "too_few", "not_measured", "no_target"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure; `says` is its definition, shown wherever it is.

    Attributes:
        kind: `share` lies between 0 and 1, `money` is in US dollars, `points` are of NPS (-100 to 100), `seconds` are a
            percentile.
        of: what the observations are.
    """

    key: str
    title: str
    group: Group
    kind: Kind
    is_better_higher: bool
    of: str
    says: str


PERCENTILES = (0.5, 0.95, 0.99)


def latency_key(latency_class: str, share: float) -> str:
    """The measure of that percentile of a class: `latency_simple_p95`."""
    return f"latency_{latency_class}_p{round(share * 100)}"


def _latency(latency_class: str, share: float) -> Measure:
    part = f"{round(share * 100)} of 100" if share != 0.5 else "half"
    return Measure(
        latency_key(latency_class, share),
        f"Latency p{round(share * 100)}, {latency_class} turns",
        "technical",
        "seconds",
        False,
        "turns",
        f"From start to end, {part} of the {latency_class} turns took no longer; stopped turns and those that waited "
        "for people are left out. At most 5 % off, which is inside the interval; that counts turns one by one, also "
        "those of pending conversations.",
    )


MEASURES: Mapping[str, Measure] = {
    each.key: each
    for each in (
        Measure(
            "autonomous_resolution", "Resolved by the agent alone", "technical", "share", True, "conversations",
            "Completed, not escalated, and the same user did not come back on the same matter within the window; "
            "what the user or a reviewer says overrides it.",
        ),
        Measure(
            "task_completion", "Task completion", "technical", "share", True, "conversations",
            "The flow ended as it should, or the agent answered what was asked; failed and merely clarifying "
            "conversations are not completed.",
        ),
        Measure(
            "escalation_rate", "Escalation rate", "quality", "share", False, "conversations",
            "The agent gave the conversation to people.",
        ),
        Measure(
            "error_rate", "Error rate", "technical", "share", False, "turns",
            "The turn ended in an error, whatever the user was told.",
        ),
        Measure(
            "availability", "Availability", "technical", "share", True, "turns",
            "The turn did not end in an error. What was turned away before it was a turn is not in it.",
        ),
        *(_latency(name, part) for name in LATENCY_CLASSES for part in PERCENTILES),
        Measure(
            "action_success", "Action success", "quality", "share", True, "tool calls",
            "The tool call gave a result, at whichever rung of its ladder.",
        ),
        Measure(
            "unsupported_claim_rate", "Turns with an unsupported claim", "quality", "share", False, "turns",
            "The answer claims a number, date, id, quote or name that the agent was not given. A proxy: the "
            "hallucination rate comes from reviews.",
        ),
        Measure(
            "intent_accuracy", "Intent accuracy", "quality", "share", True, "reviewed turns",
            "Reviewers say that the intent was the right one; turns weigh by the chance with which they were picked.",
        ),
        Measure(
            "hallucination_rate", "Hallucination rate", "quality", "share", False, "reviewed turns",
            "Reviewers say that the answer is made up; turns weigh by the chance with which they were picked.",
        ),
        Measure(
            "grounding_precision", "Grounding check was right", "quality", "share", True, "reviewed turns",
            "Of the reviewed turns in which the check of answers found an unsupported claim, those whose answer "
            "reviewers call made up; turns weigh by the chance with which they were picked.",
        ),
        Measure(
            "csat", "Satisfaction (CSAT)", "business", "mean", True, "answers",
            "Mean of what users answered, 1 to 5. Those who answer are not a fair sample of those who do not.",
        ),
        Measure(
            "nps", "Net promoter score", "business", "points", True, "answers",
            "Promoters (9, 10) less detractors (0 to 6), per hundred answers.",
        ),
        Measure(
            "thumbs_up_rate", "Thumbs up", "business", "share", True, "thumbs",
            "Of the thumbs that users gave, those that point up.",
        ),
        Measure(
            "cost_per_conversation", "Cost per conversation", "business", "money", False, "conversations",
            "What the model calls cost at list prices; calls without a known price are left out and counted.",
        ),
        Measure(
            "cost_per_resolved", "Cost per resolved conversation", "business", "money", False, "resolved conversations",
            "What all closed conversations cost, shared among those that were resolved.",
        ),
        Measure(
            "saving_per_conversation", "Saving per conversation", "business", "money", True, "conversations",
            "What people would cost for the share that was resolved, less what the models cost for all.",
        ),
        Measure(
            "minutes_saved", "Minutes saved per conversation", "business", "minutes", True, "conversations",
            "What people would need for the share that was resolved.",
        ),
        Measure(
            "value_per_conversation", "Value per conversation", "business", "money", True, "conversations",
            "Value events that were reported for the conversation.",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One measure of a report, beside the period before, the baseline and the target."""

    measure: Measure
    now: Estimate
    previous: Estimate
    baseline: Estimate | None
    target: float | None

    @property
    def change(self) -> Estimate:
        """Against the period before."""
        return self._than(self.previous)

    @property
    def gain(self) -> Estimate | None:
        """Against the baseline; `None` without one."""
        return None if self.baseline is None else self._than(self.baseline)

    def _than(self, before: Estimate) -> Estimate:
        return distance(self.now, before) if self.measure.kind == "seconds" else difference(self.now, before)

    @property
    def verdict(self) -> Verdict:
        """Whether the target is met: said only when the whole interval lies on one side of it."""
        return judged(self.now, self.target, is_better_higher=self.measure.is_better_higher)


def judged(now: Estimate, target: float | None, *, is_better_higher: bool) -> Verdict:
    """The verdict on an estimate; a target that the interval holds inside is neither met nor missed."""
    if now.value is None:
        return "not_measured"
    if target is None:
        return "no_target"
    if not now.is_enough or now.low is None or now.high is None:
        return "too_few"
    if now.low < target < now.high:
        return "unclear"
    is_above = now.low >= target
    return "met" if is_above == is_better_higher else "missed"
