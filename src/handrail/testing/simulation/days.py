"""When people come and what goes wrong: a daily curve, and incidents at set times. Pure."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

HOUR = 3600.0
DAY = 24 * HOUR
Trouble = Literal[
    # Outside: systems, models, people.
    "tools_down", "model_down", "model_hangs", "slow", "costly", "poor_answers", "rush", "injections", "nobody_comes",
    "approvers_away", "channel_down",
    # The deployment itself: a part of it that stands still, a disk without room.
    "counting_stops", "sealing_stops", "tracing_stops", "disk_full",
]  # fmt: skip
# How many times as full as on a usual night; in a rush of strength one it is as on the afternoon of a busy day.
RUSH = 14.0
# What most people come for while something is so.
TOPICS: Mapping[Trouble, str] = MappingProxyType(
    {
        "tools_down": "order_status",
        "model_down": "product_advice",
        "model_hangs": "product_advice",
        "slow": "order_status",
        "costly": "product_advice",
        "poor_answers": "product_advice",
        "approvers_away": "refund",
        "sealing_stops": "refund",
    }
)
# More people are no trouble, and nobody need look more often.
_NO_TROUBLE: frozenset[Trouble] = frozenset({"rush"})


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is so from one time on until another, in seconds from the start."""

    what: Trouble
    begins: float
    ends: float
    strength: float = 1.0

    def holds(self, seconds: float) -> bool:
        return self.begins <= seconds < self.ends


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated.

    Attributes:
        starts_at: in microseconds since 1970.
        conversations: how many are begun by users who came on their own; those who come again are further ones.
        users: how many people they are of.
        look_seconds: how often alerts are looked at; every minute while something goes wrong.
        usual: how full the usual hours are, beside the rushes.
    """

    seed: int
    starts_at: int
    seconds: float
    conversations: int
    users: int
    incidents: Sequence[Incident]
    look_seconds: float = 300.0
    usual: float = 1.0

    def seconds_at(self, micros: int) -> float:
        """A time of the clock, in seconds from the start."""
        return (micros - self.starts_at) / 1e6

    def holds(self, what: Trouble, seconds: float) -> bool:
        return self.strength(what, seconds) > 0

    def strength(self, what: Trouble, seconds: float) -> float:
        """Of all incidents of this kind that there are at once."""
        return sum(each.strength for each in self.incidents if each.what == what and each.holds(seconds))

    def of(self, what: Trouble) -> list[Incident]:
        """Every incident of a kind."""
        return [each for each in self.incidents if each.what == what]

    def topic(self, seconds: float) -> str | None:
        """The intent of the hour, if there is one."""
        return next((TOPICS[each.what] for each in self.incidents if each.what in TOPICS and each.holds(seconds)), None)

    def next_look(self, seconds: float) -> float:
        """When alerts are looked at again: every minute while something goes wrong and for half an hour afterwards, and
        just before something begins to."""
        troubles = [each for each in self.incidents if each.what not in _NO_TROUBLE]
        # From a little before: a clock of microseconds may stop just short of a time.
        is_troubled = any(each.begins - 3 <= seconds < each.ends + HOUR / 2 for each in troubles)
        usual = seconds + (60.0 if is_troubled else self.look_seconds)
        return min(
            [usual, *(each.begins - 2 for each in troubles if seconds < each.begins - 3 and each.begins < usual)]
        )


def arrivals(rng: random.Random, plan: Plan) -> list[float]:
    """When conversations begin, in order: few at night, most in the afternoon, and many in a rush."""
    minutes = [minute * 60.0 for minute in range(int(plan.seconds // 60))]
    weights = [_weight(plan, at) for at in minutes]
    return sorted(at + 60 * rng.random() for at in rng.choices(minutes, weights, k=plan.conversations))


def _weight(plan: Plan, seconds: float) -> float:
    if plan.holds("nobody_comes", seconds):
        return 0.0
    if rush := plan.strength("rush", seconds):
        return RUSH * rush
    of_day = (plan.starts_at / 1e6 + seconds) % DAY / DAY
    # Lowest at three in the morning, highest at three in the afternoon.
    return plan.usual * (1.1 - math.cos(2 * math.pi * (of_day - 3 / 24)))
