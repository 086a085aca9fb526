"""What the rounds measured: one value a round for each metric and contender."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.figures import Figure, over_rounds, ratios

MOCK, FLOOR, HANDRAIL, PEER = "mock", "floor", "handrail", "pydantic-ai"


@dataclass(slots=True)
class Results:
    """The values of all rounds, and every error met on the way."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict[str, dict[str, list[float]]])
    errors: list[str] = field(default_factory=list[str])

    def add(self, metric: str, contender: str, value: float) -> None:
        self.values.setdefault(metric, {}).setdefault(contender, []).append(value)

    def fail(self, contender: str, errors: list[str]) -> None:
        self.errors += [f"{contender}: {error}" for error in errors]

    def rounds(self, metric: str, contender: str) -> list[float]:
        """One value a round, empty when it was not measured."""
        return self.values.get(metric, {}).get(contender, [])

    def figure(self, metric: str, contender: str) -> Figure | None:
        """The median and spread, None when it was not measured."""
        rounds = self.rounds(metric, contender)
        return over_rounds(rounds) if rounds else None

    def ratio(self, metric: str, above: str, below: str) -> Figure | None:
        """The ratio of two contenders, taken within each round; None when one of them was not measured."""
        upper, lower = self.rounds(metric, above), self.rounds(metric, below)
        if not upper or len(upper) != len(lower) or min(lower) <= 0:
            return None
        return over_rounds(ratios(upper, lower))
