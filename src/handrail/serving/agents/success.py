"""What success means for an agent, under `success` in `agent.yaml`: measures, targets, and what people would cost."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from handrail.core.latency import LATENCY_CLASSES, LatencyClass

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
# Which way each measure is better; the scorecard computes exactly these.
BETTER: dict[str, Literal["higher", "lower"]] = {
    "task_completion": "higher",
    "autonomous_resolution": "higher",
    "escalation_rate": "lower",
    "error_rate": "lower",
    "availability": "higher",
    **{f"latency_{name}_p{part}": "lower" for name in LATENCY_CLASSES for part in (50, 95, 99)},
    "action_success": "higher",
    "intent_accuracy": "higher",
    "hallucination_rate": "lower",
    "unsupported_claim_rate": "lower",
    "grounding_precision": "higher",
    "csat": "higher",
    "nps": "higher",
    "thumbs_up_rate": "higher",
    "cost_per_conversation": "lower",
    "cost_per_resolved": "lower",
    "saving_per_conversation": "higher",
    "value_per_conversation": "higher",
    "minutes_saved": "higher",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HumanCost(_Strict):
    """What one conversation costs when a person has it: what savings are measured against."""

    amount: float = Field(gt=0, le=100_000, description="Per conversation, in the currency of `success`.")
    minutes: float | None = Field(default=None, gt=0, le=10_000, description="How long a person takes for one.")
    source: str = Field(default="", max_length=500, description="Where the figure comes from; shown with the saving.")


class Objective(_Strict):
    """The service level objective: how much may go wrong, and how fast answers are."""

    availability: float = Field(default=0.995, gt=0, lt=1, description="Share of turns that end without an error.")
    window_days: int = Field(default=28, ge=1, le=90, description="The error budget is for so many days.")
    latency_seconds: dict[LatencyClass, Annotated[float, Field(gt=0, le=600)]] = Field(
        default_factory=lambda: {"simple": 2.0, "medium": 6.0, "complex": 20.0},
        description="By latency class: `latency_share` of the turns are answered in full within it.",
    )
    latency_share: float = Field(default=0.95, gt=0, lt=1, description="Share of turns that must be that fast.")


class Success(_Strict):
    """The success measures of an agent. Every one of them has a default, so that a scorecard is there from day one."""

    currency: Currency = Field(default="USD", description="Of `human_cost` and of money targets: three letters.")
    usd: float | None = Field(
        default=None, gt=0, description="What one unit of the currency is in US dollars; models are priced in those."
    )
    human_cost: HumanCost | None = Field(default=None, description="Without it, savings are not measured.")
    resolution_window_hours: float = Field(
        default=24, gt=0, le=24 * 30, description="So long after its last turn nobody came back: then it is resolved."
    )
    objective: Objective = Objective()
    targets: dict[str, float] = Field(
        default_factory=dict, description="By measure; at least or at most, whichever is better for it."
    )

    @field_validator("targets")
    @classmethod
    def _known(cls, targets: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(targets) - set(BETTER)):
            raise ValueError(f"no measure is called {unknown[0]!r}; use one of {', '.join(BETTER)}")
        return targets

    @model_validator(mode="after")
    def _has_rate(self) -> Self:
        if self.currency != "USD" and self.usd is None and self.human_cost is not None:
            raise ValueError(f"models are priced in USD: say what one {self.currency} is in US dollars, as 'usd'")
        return self

    def target(self, measure: str) -> float | None:
        """As it is named, else as the objective has it."""
        return self.targets.get(measure, self._of_objective.get(measure))

    @property
    def _of_objective(self) -> dict[str, float]:
        objective, part = self.objective, round(self.objective.latency_share * 100)
        latencies = {f"latency_{name}_p{part}": limit for name, limit in objective.latency_seconds.items()}
        return {"availability": objective.availability, **latencies}

    @property
    def in_usd(self) -> float | None:
        """What one unit of the currency is in US dollars."""
        return 1.0 if self.currency == "USD" else self.usd
