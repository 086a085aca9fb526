"""When people come and what goes wrong: a daily curve, and incidents at set times. Pure."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

HOUR = 3600.0
DAY = 24 * HOUR
Trouble = Literal["tools_down", "model_down", "model_hangs", "slow", "costly", "rush", "approvers_away"]
RUSH = 14.0
# What most people come for while something is so.
TOPICS: Mapping[Trouble, str] = MappingProxyType(
    {
        "tools_down": "order_status",
        "model_down": "product_advice",
        "model_hangs": "product_advice",
        "slow": "product_advice",
        "costly": "product_advice",
        "approvers_away": "refund",
    }
)


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is so from one time on until another, in seconds from the start."""

    what: Trouble
    begins: float
    ends: float

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
    """

    seed: int
    starts_at: int
    seconds: float
    conversations: int
    users: int
    incidents: Sequence[Incident]
    look_seconds: float = 300.0

    def holds(self, what: Trouble, seconds: float) -> bool:
        return self.times(what, seconds) > 0

    def times(self, what: Trouble, seconds: float) -> int:
        """How many incidents of this kind there are at once."""
        return sum(each.what == what and each.holds(seconds) for each in self.incidents)

    def topic(self, seconds: float) -> str | None:
        """The intent of the hour, if there is one."""
        return next((TOPICS[each.what] for each in self.incidents if each.what in TOPICS and each.holds(seconds)), None)

    def is_troubled(self, seconds: float) -> bool:
        """Whether something goes wrong, or went wrong within the last half hour."""
        return any(each.begins <= seconds < each.ends + HOUR / 2 for each in self.incidents)


def plan_days(seed: int, *, until: int, days: int, conversations: int) -> Plan:
    """Whole days that end at `until` (microseconds); on the last of them much goes wrong."""
    seconds = days * DAY
    users = max(8, conversations // 3)
    return Plan(seed, until - int(seconds * 1e6), seconds, conversations, users, _incidents(seconds))


def _incidents(seconds: float) -> list[Incident]:
    def before_end(what: Trouble, hours: float, minutes: float) -> Incident:
        begins = seconds - hours * HOUR
        return Incident(what, begins, begins + minutes * 60)

    return [
        before_end("slow", 20, 50),
        before_end("rush", 20, 50),
        before_end("approvers_away", 14, 90),
        before_end("tools_down", 10, 25),
        before_end("rush", 10, 45),
        before_end("model_down", 7.5, 30),
        before_end("rush", 7.5, 50),
        before_end("model_hangs", 5, 15),
        before_end("rush", 5, 30),
        before_end("rush", 5, 15),
        before_end("rush", 5, 15),
        before_end("costly", 3, 60),
    ]


def arrivals(rng: random.Random, plan: Plan) -> list[float]:
    """When conversations begin, in order: few at night, most in the afternoon, and many in a rush."""
    minutes = [minute * 60.0 for minute in range(int(plan.seconds // 60))]
    weights = [_weight(plan, at) for at in minutes]
    return sorted(at + 60 * rng.random() for at in rng.choices(minutes, weights, k=plan.conversations))


def _weight(plan: Plan, seconds: float) -> float:
    of_day = (plan.starts_at / 1e6 + seconds) % DAY / DAY
    # Lowest at three in the morning, highest at three in the afternoon.
    usual = 1.1 - math.cos(2 * math.pi * (of_day - 3 / 24))
    # In a rush it is as full as in the afternoon of a busy day, whatever the hour.
    return RUSH * rushes if (rushes := plan.times("rush", seconds)) else usual
