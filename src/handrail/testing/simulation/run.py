"""Lets the planned days happen: one event after another in the order of their times, each through the real flows."""

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from handrail.core.clock import FrozenClock
from handrail.core.errors import HandrailError
from handrail.core.principal import Principal, Role
from handrail.flows import leases
from handrail.flows.approval import Decision, decide
from handrail.flows.approval_desk import look_closely
from handrail.flows.conversations import open_conversation
from handrail.flows.job_desk import JobDesk
from handrail.flows.loaded_release import LoadedRelease
from handrail.flows.services import Services
from handrail.flows.turn import take_turn
from handrail.testing.simulation.days import HOUR, Plan, arrivals
from handrail.testing.simulation.people import MOST_MESSAGES, User, Visit, crowd, reply, visit_of
from handrail.testing.simulation.systems import ModelName, SimulatedDisk, SimulatedModels, SimulatedTools
from handrail.testing.simulation.ticks import Ticks
from handrail.testing.simulation.upkeep import Upkeep
from handrail.testing.simulation.voices import Voices

TENANT = "default"
APPROVER = Principal(TENANT, "sim-approver", frozenset({Role.APPROVER}))
OPERATOR = Principal(TENANT, "sim-operator", frozenset({Role.OPERATOR}))
CHANNELS = ("chat", "chat", "chat", "api")
# Somebody who did not get what they came for comes again.
RETURNS = 0.5
LEFT = 0.1
ON_TOPIC = 0.7
SPREE_VISITS = 7
EXPORT = "export_conversations"
REJECTION = "the parcel has not come back yet"

Event = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Report:
    """What happened, in counts: the same for the same plan. Of each rule, how many of its alerts fired, and how many of
    these were resolved."""

    counts: Mapping[str, int]
    fired: Mapping[str, int]
    resolved: Mapping[str, int]

    @property
    def still_firing(self) -> Mapping[str, int]:
        """By rule, what is not over at the end."""
        return {rule: left for rule, count in self.fired.items() if (left := count - self.resolved.get(rule, 0))}


@dataclass(slots=True)
class Talk:
    """A conversation that goes on."""

    visit: Visit
    conversation_id: str
    follow_ups: list[str]
    turn_id: str = ""
    said: int = 0
    asked: int = 0
    returns: bool = True


@dataclass
class Simulation:
    """One plan over services whose clock it moves.

    Args:
        examples: by intent, what users say.
    """

    services: Services
    clock: FrozenClock
    release: LoadedRelease
    plan: Plan
    examples: Mapping[str, Sequence[str]]
    counts: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        self._rng = random.Random(self.plan.seed)
        self._events: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()
        # What is outside has its own chance, so that people say the same whatever a model answers.
        self._outside = random.Random(self.plan.seed + 1)
        self._voices = Voices(self.services, self._rng, self.counts)
        self._ticks = Ticks(self.clock)
        self._upkeep = Upkeep(self.services, self.clock, self.plan, self._ticks)
        self.services.tool_runner = SimulatedTools(self.plan, self._ticks, self._outside)
        names = [ModelName(each.provider, each.model) for each in self.release.models.describe()]
        self._models = SimulatedModels(self.plan, self._ticks, self._outside, names)
        self.release.chain = self._models.chain()
        background = self.services.background
        background.exports = SimulatedDisk(background.exports, lambda: self.plan.holds("disk_full", self._seconds))

    async def run(self) -> Report:
        """Everything until the plan's end; then all is counted and looked at once more."""
        await self.services.prices.learn(self._models.priced())
        users = crowd(self._rng, self.plan.users)
        usual, odd = [each for each in users if not each.is_odd], [each for each in users if each.is_odd]
        for at in arrivals(self._rng, self.plan):
            self._then(at, partial(self._come, self._rng.choice(usual), None))
        for at, user in self._sprees(odd):
            self._then(at, partial(self._come, user, None))
        for each in self.plan.of("disk_full"):
            for at in (each.begins + 300, each.ends + 600):
                self._then(at, self._ask_for_an_export)
        self._then(0.0, self._look)
        while self._events:
            at, _, event = heapq.heappop(self._events)
            if at > self.plan.seconds:
                break
            self.clock.advance(max(0.0, at - self._seconds))
            await event()
        self.clock.advance(max(0.0, self.plan.seconds - self._seconds))
        await self._look()
        return await self._report()

    @property
    def _seconds(self) -> float:
        return self.plan.seconds_at(self.clock.micros())

    def _sprees(self, odd: Sequence[User]) -> list[tuple[float, User]]:
        """When those come who try what they are not meant to."""
        return [
            (each.begins + (each.ends - each.begins) * (number + self._rng.random()) / SPREE_VISITS, user)
            for each in self.plan.of("injections")
            for user in odd
            for number in range(SPREE_VISITS)
        ]

    def _then(self, at: float, event: Event) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), event))

    def _after(self, least: float, most: float, event: Event) -> None:
        self._then(self._seconds + self._rng.uniform(least, most), event)

    async def _come(self, user: User, intent: str | None, *, returns: bool = True) -> None:
        if self.plan.holds("nobody_comes", self._seconds):
            self.counts["visits that never arrived"] += 1
            return
        topic = self.plan.topic(self._seconds)
        if intent is None and topic is not None and self._rng.random() < ON_TOPIC:
            intent = topic
        visit = visit_of(self._rng, user, self.examples, intent)
        who, channel = Principal(TENANT, user.subject), self._rng.choice(CHANNELS)
        try:
            opened = await open_conversation(self.services, who, self.release.agent, channel=channel)
        except HandrailError as error:
            self.counts[f"refused {error.code}"] += 1
            return
        self.counts["conversations"] += 1
        talk = Talk(visit, opened.id, list(visit.follow_ups), returns=returns)
        await self._say(talk, visit.opening)

    async def _say(self, talk: Talk, text: str) -> None:
        """One turn, until it has ended or waits for people; then what comes of it is planned."""
        user = talk.visit.user
        try:
            stream = await take_turn(self.services, Principal(TENANT, user.subject), talk.conversation_id, text)
            # What Handrail itself takes, about ten milliseconds; on this clock it would be nothing.
            self._ticks.advance(self._outside.lognormvariate(-4.6, 0.3))
            result = await stream.wait()
        except HandrailError as error:
            self.counts[f"refused {error.code}"] += 1
            return
        await self._settle()
        talk.said += 1
        talk.turn_id = stream.turn_id
        status = str(result["status"])
        self.counts["turns"] += 1
        self.counts[f"turns {status}"] += 1
        if status == "requires_action":
            await self._wait_for_people(talk)
            return
        found = await self.services.conversations.find(TENANT, talk.conversation_id)
        if talk.said >= MOST_MESSAGES:
            await self._leave(talk, is_content=False)
        elif found.awaiting is not None:
            answer = reply(self._rng, user, found.awaiting, talk.asked)
            talk.asked += found.awaiting.kind == "slot"
            self._after(8, 60, partial(self._say, talk, answer))
        elif talk.follow_ups:
            self._after(15, 120, partial(self._say, talk, talk.follow_ups.pop(0)))
        else:
            is_poor = self.plan.holds("poor_answers", self._seconds)
            await self._leave(talk, is_content=status == "completed" and not is_poor)

    async def _wait_for_people(self, talk: Talk) -> None:
        for each in await self.services.approvals.pending_in(TENANT, talk.conversation_id):
            self.counts["approvals"] += 1
            self._after(90, 900, partial(self._decide, each.id))
        self._after(900, 1800, partial(self._leave, talk, is_content=True))

    async def _decide(self, approval_id: str) -> None:
        """An approver looks, thinks and decides; while nobody is there it waits, and some are never looked at."""
        chance = self._rng.random()
        if self.plan.holds("approvers_away", self._seconds):
            if chance > LEFT:
                self._after(900, 1800, partial(self._decide, approval_id))
            else:
                self.counts["approvals left"] += 1
            return
        decision: Decision = "reject" if chance > 0.8 else "approve"
        try:
            shown = await look_closely(self.services, APPROVER, approval_id)
            self.clock.advance(self._rng.uniform(4, 50))
            reason = REJECTION if decision == "reject" else None
            fingerprint = shown.approval.fingerprint
            await decide(self.services, APPROVER, approval_id, decision, fingerprint=fingerprint, reason=reason)
        except HandrailError as error:
            self.counts[f"undecided {error.code}"] += 1
            return
        self.counts[f"approvals {decision}"] += 1
        await self._settle()

    async def _leave(self, talk: Talk, *, is_content: bool) -> None:
        user, about = talk.visit.user, (talk.conversation_id, talk.turn_id)
        if not user.is_odd:
            who, intent = Principal(TENANT, user.subject), talk.visit.intent
            await self._voices.speak(who, user.mood, *about, is_content=is_content)
            await self._voices.follow_up(TENANT, *about, intent, is_good=is_content)
        if not is_content and talk.returns and talk.visit.intent and self._rng.random() < RETURNS:
            self._after(1800, 4 * HOUR, partial(self._come, talk.visit.user, talk.visit.intent, returns=False))

    async def _ask_for_an_export(self) -> None:
        """As an operator does in the console; it runs with the next look."""
        await JobDesk(self.services.db, self.clock, OPERATOR, self.services.audit).run(EXPORT)
        self.counts["exports asked for"] += 1

    async def _look(self) -> None:
        """What goes on in the background all the time, done now."""
        await leases.sweep(self.services)
        await self._settle()
        await self._upkeep.look()
        self._then(self.plan.next_look(self._seconds), self._look)

    async def _settle(self) -> None:
        """Wait until nothing runs any more."""
        while self.services.running:
            await asyncio.wait(list(self.services.running.values()))
        await self._upkeep.after_turn()

    async def _report(self) -> Report:
        alerts = [each for each in await self.services.alerts.store.list(None, limit=1000) if each.fired_at is not None]
        fired = Counter(each.rule for each in alerts)
        resolved = Counter(each.rule for each in alerts if each.resolved_at is not None)
        return Report(dict(self.counts), dict(fired), dict(resolved))
