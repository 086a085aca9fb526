"""The working part: what one process knows of alerts, and how it tells people."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handrail.db import Batch
from handrail.insight.alerts.config import AlertConfig
from handrail.insight.alerts.delivery import RecordingSender, Sender
from handrail.insight.alerts.notices import Desk, Kind, Notice, Places, Silence
from handrail.insight.alerts.signals import Budget
from handrail.insight.alerts.store import AlertLease, AlertStore

LATELY_MICROS = 300 * 1_000_000
ERASED = "conversation_gone"


@dataclass(frozen=True, slots=True)
class Message:
    """What people are to be told that is not an alert.

    Attributes:
        what: makes it the same message however often it is asked for, such as an approval's id.
    """

    kind: Kind
    tenant_id: str
    what: str
    title: str
    body: str


@dataclass(slots=True)
class Alerts:
    """One field of the services.

    Attributes:
        operated_by: the tenant whose operators look after what is of the whole deployment.
        lease: what this process held when it looked last.
        said: what it reported of itself, at `said_at`.
        lost: traces that this process has lost, and how many they were at each of its reports of the last minutes.
        history: turns of the same hour on earlier days, as of `history_at`.
        budgets: how they stood at `budgets_at`.
        unreachable_since: since when the database does not answer.
    """

    store: AlertStore
    config: AlertConfig = field(default_factory=lambda: AlertConfig(None, ()))
    sender: Sender = field(default_factory=lambda: RecordingSender(channels=()))
    places: Places = field(default_factory=Places)
    every_seconds: float = 15.0
    operated_by: str = "default"
    lease: AlertLease | None = None
    said: Mapping[str, Any] = field(default_factory=dict[str, Any])
    said_at: int = 0
    lost: int = 0
    lost_at: deque[tuple[int, int]] = field(default_factory=deque[tuple[int, int]])
    history: Mapping[tuple[str, str], Sequence[float]] = field(default_factory=dict[tuple[str, str], Sequence[float]])
    history_at: int = 0
    budgets: Sequence[Budget] = ()
    budgets_at: int = 0
    unreachable_since: int | None = None

    def lose(self, reason: str, count: int) -> None:
        """Traces are gone; those of a conversation that was erased are meant to be."""
        if reason != ERASED:
            self.lost += count

    def lost_lately(self, at: int) -> int:
        """How many traces were lost in the last five minutes."""
        # A clock that was put back: what lies ahead of it would stay for as long as that.
        while self.lost_at and self.lost_at[-1][0] > at:
            self.lost_at.pop()
        self.lost_at.append((at, self.lost))
        while len(self.lost_at) > 1 and self.lost_at[1][0] <= at - LATELY_MICROS:
            self.lost_at.popleft()
        return self.lost - self.lost_at[0][1]

    def desk(self, silences: Sequence[Silence], at: int) -> Desk:
        return Desk(self.config.file, self.sender.channels, silences, at, self.places)

    def channels_of(self, team: str | None) -> Sequence[str]:
        """A team's, else those for all people."""
        file, known = self.config.file, self.sender.channels
        wanted = file.teams.get(team) if team is not None else None
        if wanted is None:
            wanted = known if file.people is None else file.people
        return [each for each in wanted if each in known]

    def tell_team(self, batch: Batch, team: str | None, message: Message) -> None:
        """Write down that a team's people are to be told, beside what they are told of; nothing without channels."""
        self.tell(batch, self.channels_of(team), message)

    def digest(self, batch: Batch, message: Message) -> None:
        """The same for a digest, to the channels that get one."""
        wanted = self.config.file.digest
        self.tell(batch, self.sender.channels if wanted is None else wanted, message)

    def tell(self, batch: Batch, channels: Sequence[str], message: Message) -> None:
        for channel in channels:
            notice = Notice.about(message.kind, channel, message.tenant_id, message.what, message.title, message.body)
            self.store.add_notice(batch, notice)
