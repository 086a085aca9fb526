"""A share of a count, never without its interval."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

CONFIDENCE = 0.95


def wilson(share: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval of Wilson (1927) of a share among `n` independent observations; `n` need not be whole."""
    if n <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = share + z * z / (2 * n)
    half = z * (max(share * (1 - share), 0.0) / n + z * z / (4 * n * n)) ** 0.5
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `n`, with its interval at 95 %."""

    count: int
    n: int

    @classmethod
    def of(cls, marks: Iterable[bool]) -> "Share":
        every = list(marks)
        return cls(sum(every), len(every))

    def interval(self) -> tuple[float, float] | None:
        """From 0 to 1; `None` of nothing."""
        return wilson(self.count / self.n, self.n) if self.n else None

    def figures(self) -> dict[str, Any]:
        """As plain values for JSON; `share` is null of nothing."""
        share = self.count / self.n if self.n else None
        return {"count": self.count, "n": self.n, "share": share, "interval": self.interval()}

    def __str__(self) -> str:
        interval = self.interval()
        if interval is None:
            return "no such rows"
        return f"{self.count / self.n:.3f} ({interval[0]:.3f} to {interval[1]:.3f}; {self.count} of {self.n})"
