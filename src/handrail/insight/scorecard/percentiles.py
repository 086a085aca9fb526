"""Percentiles with intervals, from counts in buckets. Pure.

Source: David and Nagaraja, "Order Statistics", 3rd edition, 7.1: between which ranks of a sample a percentile lies
follows from the binomial distribution alone, whatever the times are distributed like. From the ranks on, an interval
reaches to the far edges of their buckets, so that the error of the histogram is inside it too. Observations count one
by one: that a user's turns are alike, histograms do not tell.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from math import ceil, exp, floor, lgamma, log, sqrt
from statistics import NormalDist

from handrail.core.share import CONFIDENCE
from handrail.insight.scorecard.histogram import edges_of, percentile
from handrail.insight.scorecard.statistics import NOTHING, Estimate, difference

SECOND = 1_000_000
# Up to here the binomial distribution is summed up; beyond it the normal one is as good.
MOST_EXACT = 1000


def percentile_of(counts: Mapping[int, int], share: float) -> Estimate:
    """The time, in seconds, that this share of all stays within; without interval where so few can't give one."""
    total = sum(counts.values())
    micros = percentile(counts, share)
    if micros is None:
        return NOTHING
    below, above = ranks(total, share)
    if below < 1 or above > total:
        return Estimate(micros / SECOND, None, None, total, total, float(total))
    low, high = edges_of(bucket_at(counts, below))[0], edges_of(bucket_at(counts, above))[1]
    return Estimate(micros / SECOND, low / SECOND, high / SECOND, total, total, float(total))


def distance(now: Estimate, before: Estimate) -> Estimate:
    """`now` less `before`, from end to end of both intervals: the errors of buckets are no chance and do not cancel."""
    change = difference(now, before)
    if now.low is None or now.high is None or before.low is None or before.high is None:
        return change
    return replace(change, low=now.low - before.high, high=now.high - before.low)


def ranks(total: int, share: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Between which ranks, the least being 1, the percentile lies; 0 and `total` + 1 are beyond the sample."""
    tail = (1 - confidence) / 2
    if total > MOST_EXACT:
        middle, spread = total * share, NormalDist().inv_cdf(1 - tail) * sqrt(total * share * (1 - share))
        return max(0, floor(middle - spread)), min(total + 1, ceil(middle + spread) + 1)
    at_most = list(accumulate(_chances(total, share)))
    below = next(rank for rank, chance in enumerate(at_most) if chance >= tail)
    above = next((rank for rank, chance in enumerate(at_most) if chance >= 1 - tail), total)
    return below, above + 1


def bucket_at(counts: Mapping[int, int], rank: int) -> int:
    """The bucket of the observation with this rank."""
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            return bucket
    return max(counts)


def _chances(total: int, share: float) -> list[float]:
    """How likely each number of hits is."""
    whole = lgamma(total + 1)
    return [
        exp(whole - lgamma(k + 1) - lgamma(total - k + 1) + k * log(share) + (total - k) * log(1 - share))
        for k in range(total + 1)
    ]
