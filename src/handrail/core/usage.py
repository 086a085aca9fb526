"""What a model call used, in the provider's own counts."""

from dataclasses import dataclass, field

# Twenty times what the longest contexts hold; a turn of a hundred calls still fits into 32 bits.
MOST_TOKENS = 20_000_000


# How a call ended whose process died, and one that was stopped, or whose answer nobody wanted to hear any more.
LOST, BROKEN_OFF = "lost", "broken_off"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts; `None` where the provider did not say, never a made-up zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None

    def plausible(self) -> "Usage":
        """Without counts that no call can have, which no database would take: what they were is not known."""
        counts = (self.input_tokens, self.output_tokens, self.cached_tokens)
        if all(each is None or 0 <= each <= MOST_TOKENS for each in counts):
            return self
        return Usage(*(None if each is None or not 0 <= each <= MOST_TOKENS else each for each in counts))

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            _sum(self.cached_tokens, other.cached_tokens),
        )


@dataclass(frozen=True, slots=True)
class Used:
    """What calls used, and cost in millionths of a US dollar: None when that of one is not known, 0 of none."""

    usage: Usage = field(default_factory=Usage)
    cost_micros: int | None = 0

    def __add__(self, other: "Used") -> "Used":
        cost = None
        if self.cost_micros is not None and other.cost_micros is not None:
            cost = self.cost_micros + other.cost_micros
        return Used(self.usage + other.usage, cost)


def _sum(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right
