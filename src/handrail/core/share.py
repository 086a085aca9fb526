"""A share of a count, never without its interval."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# The 97.5 % quantile of the normal distribution: intervals of 95 %.
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `n`, with the 95 % interval of Wilson (1927)."""

    count: int
    n: int

    @classmethod
    def of(cls, marks: Iterable[bool]) -> "Share":
        every = list(marks)
        return cls(sum(every), len(every))

    def interval(self) -> tuple[float, float] | None:
        """From 0 to 1; `None` of nothing."""
        if not self.n:
            return None
        z, n, share = _Z, self.n, self.count / self.n
        middle = share + z * z / (2 * n)
        half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
        scale = 1 + z * z / n
        return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)

    def figures(self) -> dict[str, Any]:
        """As plain values for JSON; `share` is null of nothing."""
        share = self.count / self.n if self.n else None
        return {"count": self.count, "n": self.n, "share": share, "interval": self.interval()}

    def __str__(self) -> str:
        interval = self.interval()
        if interval is None:
            return "no such rows"
        return f"{self.count / self.n:.3f} ({interval[0]:.3f} to {interval[1]:.3f}; {self.count} of {self.n})"
