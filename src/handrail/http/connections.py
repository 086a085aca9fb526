"""Who may keep a connection: so many of an address, so many in all, and nobody who keeps the server waiting."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from handrail.core.addresses import source_of
from handrail.http.client_address import Proxies

SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How much patience, and for how many."""

    most: int = 4352
    per_address: int = 512
    head_seconds: float = 20.0
    body_seconds: float = 30.0


class Connection(Protocol):
    """What the door needs to know of one."""

    @property
    def peer(self) -> str: ...

    def waits_since(self) -> float | None:
        """Since when the server has been waiting for the client; `None` while it is the server's turn."""
        ...

    def patience_seconds(self, limits: ConnectionLimits) -> float | None:
        """How long that may last; `None` for as long as there is room."""
        ...

    def give_up(self) -> None:
        """Close it, and say why if a request had begun."""
        ...


class Door:
    """All connections of a process that speak HTTP; an open WebSocket has left through it."""

    def __init__(self, limits: ConnectionLimits | None = None, proxies: Proxies | None = None) -> None:
        self.limits = limits or ConnectionLimits()
        self._proxies = proxies or Proxies()
        self._open: dict[Connection, None] = {}
        self._of: Counter[str] = Counter()
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for it. Who keeps the server waiting longest makes room for who comes."""
        source = source_of(connection.peer)
        if self._of[source] >= self.limits.per_address and self._proxies.counts(connection.peer):
            return False
        if len(self._open) >= self.limits.most and not self._make_room():
            return False
        self._open[connection] = None
        self._of[source] += 1
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
        return True

    def leave(self, connection: Connection) -> None:
        """It is closed, or is a WebSocket now."""
        if connection not in self._open:
            return
        del self._open[connection]
        source = source_of(connection.peer)
        self._of[source] -= 1
        if self._of[source] <= 0:
            del self._of[source]

    def _make_room(self) -> bool:
        waiting = [(since, each) for each in self._open if (since := each.waits_since()) is not None]
        if not waiting:
            return False
        _, longest = min(waiting, key=lambda pair: pair[0])
        self.leave(longest)
        longest.give_up()
        return True

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._open):
            since, patience = connection.waits_since(), connection.patience_seconds(self.limits)
            if since is not None and patience is not None and now - since > patience:
                self.leave(connection)
                connection.give_up()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep) if self._open else None
