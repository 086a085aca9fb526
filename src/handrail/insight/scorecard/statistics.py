"""Shares and means with intervals that stay honest when the same users come again, when there are few of them, and when
what was looked at is not a fair sample.

Sources: Wilson 1927 (score interval), Korn and Graubard 1998 (effective sample size, degrees of freedom for clusters),
Newcombe 1998 (difference of two proportions from their score intervals), Hájek 1971 (ratio estimator under unequal
inclusion probabilities), Abramowitz and Stegun 26.7.5 (quantiles of Student's t).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

from handrail.core.share import CONFIDENCE, wilson

# Fewer users than that say nothing about the next ones; their counts are shown, and no share.
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Sums:
    """All that a share or a mean needs to know of clustered data; a cluster is what one user brought.

    Attributes:
        clusters: how many users.
        n: how many observations.
        x: the sum of what was observed (of 0 and 1: how many).
        xx, xn, nn: sums over the users of their own sums' squares and products.
    """

    clusters: int = 0
    n: float = 0
    x: float = 0
    xx: float = 0
    xn: float = 0
    nn: float = 0

    @classmethod
    def of(cls, users: Iterable[tuple[float, float]]) -> "Sums":
        """From each user's own (x, n)."""
        known = [(x, n) for x, n in users if n or x]
        return cls(
            len(known),
            sum(n for _, n in known),
            sum(x for x, _ in known),
            sum(x * x for x, _ in known),
            sum(x * n for x, n in known),
            sum(n * n for _, n in known),
        )

    def times(self, factor: float) -> "Sums":
        """The same with every x multiplied, as from dollars to euros."""
        return Sums(self.clusters, self.n, self.x * factor, self.xx * factor * factor, self.xn * factor, self.nn)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share or a mean with its interval at 95 %.

    Attributes:
        value: `None` when nothing was observed.
        n: observations; `clusters` are the users they came from.
        effective: as many independent observations would say as much.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    effective: float = 0.0

    @property
    def is_enough(self) -> bool:
        """Whether there are so many users that the value may be shown as more than a count."""
        return self.value is not None and self.clusters >= FEWEST


NOTHING = Estimate(None, None, None, 0, 0)


def share(sums: Sums) -> Estimate:
    """A share of observations, users counted as clusters: Wilson's interval at the effective sample size."""
    if not sums.n:
        return NOTHING
    p = sums.x / sums.n
    effective = _effective(sums, p)
    low, high = wilson(p, effective)
    return Estimate(p, low, high, int(sums.n), sums.clusters, effective)


def mean(sums: Sums) -> Estimate:
    """A mean per observation, users counted as clusters: Student's interval; without a second user no interval."""
    if not sums.n:
        return NOTHING
    value = sums.x / sums.n
    if sums.clusters < 2:
        return Estimate(value, None, None, int(sums.n), sums.clusters, 1.0)
    margin = t_quantile(sums.clusters - 1) * sqrt(_variance(sums, value))
    return Estimate(value, value - margin, value + margin, int(sums.n), sums.clusters, float(sums.clusters))


def weighted_share(users: Iterable[Sequence[tuple[bool, float]]]) -> Estimate:
    """A share from observations that were looked at with known probability, each user's as (is it so, probability).

    Every observation stands for 1 / probability of its kind. Probabilities lie in (0, 1].

    Raises:
        ValueError: a probability outside of that, for what can't be looked at can't be estimated.
    """
    known = [list(each) for each in users]
    if any(not 0 < probability <= 1 for each in known for _, probability in each):
        raise ValueError("an inclusion probability must be above 0 and at most 1")
    sums = Sums.of((sum(is_so / p for is_so, p in each), sum(1 / p for _, p in each)) for each in known)
    return weighted(sums, sum(map(len, known)))


def weighted(sums: Sums, looked_at: int) -> Estimate:
    """A share from sums in which every observation stands for 1 / probability of its kind; that many were looked at."""
    if not sums.n:
        return NOTHING
    p = sums.x / sums.n
    effective = min(_effective(sums, p), float(looked_at))
    low, high = wilson(p, effective)
    return Estimate(p, low, high, looked_at, sums.clusters, effective)


def difference(now: Estimate, before: Estimate) -> Estimate:
    """`now` less `before`: for shares Newcombe's interval, and the same combination of both margins for means."""
    if now.value is None or before.value is None:
        return NOTHING
    n, clusters = min(now.n, before.n), min(now.clusters, before.clusters)
    change = now.value - before.value
    if now.low is None or now.high is None or before.low is None or before.high is None:
        return Estimate(change, None, None, n, clusters)
    low = change - sqrt((now.value - now.low) ** 2 + (before.high - before.value) ** 2)
    high = change + sqrt((now.high - now.value) ** 2 + (before.value - before.low) ** 2)
    return Estimate(change, low, high, n, clusters)


def t_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """How many standard errors a two-sided interval reaches with so many degrees of freedom."""
    if degrees < 3:
        return {1: 12.706, 2: 4.303}.get(int(degrees), inf) if confidence == CONFIDENCE else inf
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )


def _variance(sums: Sums, ratio: float) -> float:
    """Of the ratio x / n, linearised, between users."""
    spread = max(sums.xx - 2 * ratio * sums.xn + ratio * ratio * sums.nn, 0.0)
    return sums.clusters / (sums.clusters - 1) * spread / (sums.n * sums.n)


def _effective(sums: Sums, p: float) -> float:
    """How many independent observations say as much as these; never more than there are.

    When all are alike, nothing is known of how alike one user's are: then only the users count.
    """
    if sums.clusters == sums.n:
        return sums.n
    if sums.clusters < 2 or not 0 < p < 1:
        return float(sums.clusters)
    variance = _variance(sums, p)
    plain = p * (1 - p) / variance if variance else float(sums.clusters)
    normal = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    return min(plain * (normal / t_quantile(sums.clusters - 1)) ** 2, sums.n)
