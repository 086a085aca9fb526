"""The degradation ladder: what was tried for one answer, in which order, why each failed and which one was taken."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from handrail.core.tools import Effect


class Rung(StrEnum):
    """From best to last. `honest` says that there is no answer and hands over to a person; it can't fail."""

    PRIMARY = "primary"
    RETRY = "retry"
    SECONDARY = "secondary"
    CACHED = "cached"
    HONEST = "honest"


ORDER = tuple(Rung)


@dataclass(frozen=True, slots=True)
class Step:
    """One rung that was tried.

    Attributes:
        source: the tool or model asked, by name.
        failed: the error's code; `None` for the step that gave the answer.
        age_seconds: how old a cached answer is.
    """

    rung: Rung
    source: str
    failed: str | None = None
    age_seconds: float | None = None

    def as_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {"rung": self.rung.value, "source": self.source}
        if self.failed is not None:
            record["failed"] = self.failed
        if self.age_seconds is not None:
            record["age_seconds"] = round(self.age_seconds, 1)
        return record


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs one call may use and the steps it took; each change gives a new ladder."""

    rungs: tuple[Rung, ...]
    steps: tuple[Step, ...] = ()

    def failed(self, rung: Rung, source: str, code: str) -> "Ladder":
        """`source` was asked on this rung and gave nothing, because of `code`."""
        return self._with(Step(rung, source, code))

    def answered(self, rung: Rung, source: str, *, age_seconds: float | None = None) -> "Ladder":
        """`source` gave the answer; on `cached` its age must be told."""
        if (rung is Rung.CACHED) != (age_seconds is not None):
            raise ValueError(f"an answer has an age if it is cached, and only then: {rung.value!r} and {age_seconds!r}")
        return self._with(Step(rung, source, None, age_seconds))

    @property
    def next_rung(self) -> Rung | None:
        """The next lower rung that is declared; `None` when an answer was given."""
        if self.taken is not None:
            return None
        lowest = ORDER.index(self.steps[-1].rung) if self.steps else -1
        return next((rung for rung in self.rungs if ORDER.index(rung) > lowest), None)

    @property
    def taken(self) -> Step | None:
        """The step that gave the answer."""
        return self.steps[-1] if self.steps and self.steps[-1].failed is None else None

    @property
    def is_degraded(self) -> bool:
        """The user gets something else than the best: another source, an old value, or only an honest word.

        A retry that worked is not: the answer is the same.
        """
        return self.taken is not None and self.taken.rung not in (Rung.PRIMARY, Rung.RETRY)

    def as_record(self) -> list[dict[str, Any]]:
        """For spans, events and the transcript."""
        return [step.as_record() for step in self.steps]

    def _with(self, step: Step) -> "Ladder":
        if step.rung not in self.rungs:
            declared = ", ".join(self.rungs)
            raise ValueError(f"rung {step.rung.value!r} of {step.source!r} is not declared; the rungs are {declared}")
        if self.taken is not None:
            raise ValueError(f"{self.taken.source!r} has answered on {self.taken.rung.value!r}; nothing comes after it")
        if self.steps and ORDER.index(step.rung) < ORDER.index(self.steps[-1].rung):
            raise ValueError(
                f"rung {step.rung.value!r} is above {self.steps[-1].rung.value!r}; a ladder only goes down"
            )
        return replace(self, steps=(*self.steps, step))


def tool_ladder(
    effect: Effect, *, idempotent: bool = False, has_secondary: bool = False, is_cached: bool = False
) -> Ladder:
    """The rungs a tool may use: a write that is not idempotent is tried once and never answered from elsewhere."""
    if effect == "write":
        return Ladder((Rung.PRIMARY, Rung.RETRY, Rung.HONEST) if idempotent else (Rung.PRIMARY, Rung.HONEST))
    return _ladder(has_secondary, is_cached)


def model_ladder(*, has_secondary: bool = False, is_cached: bool = False) -> Ladder:
    """The rungs of a model; `is_cached` when answers to the same question are kept somewhere."""
    return _ladder(has_secondary, is_cached)


def _ladder(has_secondary: bool, is_cached: bool) -> Ladder:
    optional = ((Rung.SECONDARY, has_secondary), (Rung.CACHED, is_cached))
    return Ladder((Rung.PRIMARY, Rung.RETRY, *(rung for rung, declared in optional if declared), Rung.HONEST))
