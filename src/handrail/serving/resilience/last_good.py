"""The last good result of each read, for when the source is down; told with its age."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

from handrail.core import json
from handrail.core.clock import Clock
from handrail.core.principal import Principal
from handrail.core.tools import Effect

# What an entry costs beside its value: key, tuple, dictionary slot.
ENTRY_BYTES = 500


class ReadKey(NamedTuple):
    """Whose read of what: a value is only ever given back to the user it was read for."""

    tenant_id: str
    subject: str
    tool: str
    arguments_hash: str

    @classmethod
    def of(cls, principal: Principal, tool: str, arguments: Any) -> "ReadKey":
        return cls(principal.tenant_id, principal.subject, tool, json.digest(arguments))


@dataclass(frozen=True, slots=True)
class LastGoodValue:
    """A result as it was; `kept_at` is microseconds since 1970 UTC."""

    value: str
    kept_at: int
    age_seconds: float


class LastGood:
    """Bounded in entries, bytes and age; the value that was not used for longest goes first. In memory only.

    Open: a value that was dropped is not there, and the ladder goes on to its next rung. For one event loop.

    Args:
        ttl_seconds: a value older than this is worse than an honest word, and is not given.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        ttl_seconds: float = 3600.0,
        most_entries: int = 10_000,
        most_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[ReadKey, tuple[str, int, float]] = OrderedDict()

    def keep(self, key: ReadKey, effect: Effect, value: str) -> None:
        """Remember a result that came whole from its source. Raises `ValueError` for the result of a write."""
        if effect != "read":
            raise ValueError(f"{key.tool!r} writes; what it returned was true once and must not be told again")
        self._drop(key)
        if _size(value) > self._most_bytes:
            return
        self._kept[key] = (value, self._clock.micros(), self._clock.monotonic())
        self._bytes += _size(value)
        self._drop_expired()
        while len(self._kept) > self._most_entries or self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def find(self, key: ReadKey) -> LastGoodValue | None:
        """The last good value of this very read, unless it is too old."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        value, kept_at, at = kept
        age = self._clock.monotonic() - at
        if age > self._ttl_seconds:
            return None
        self._kept.move_to_end(key)
        return LastGoodValue(value, kept_at, age)

    def forget(self, tenant_id: str, subject: str) -> int:
        """Erase what was read for this user; returns how many values."""
        theirs = [key for key in self._kept if (key.tenant_id, key.subject) == (tenant_id, subject)]
        for key in theirs:
            self._drop(key)
        return len(theirs)

    def __len__(self) -> int:
        return len(self._kept)

    def _drop_expired(self) -> None:
        """From the one that was not used for longest up to the first that is still good."""
        oldest_kept = self._clock.monotonic() - self._ttl_seconds
        while self._kept and next(iter(self._kept.values()))[2] < oldest_kept:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: ReadKey) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= _size(kept[0])


def _size(value: str) -> int:
    # Python keeps at most four bytes a character.
    return ENTRY_BYTES + (len(value) if value.isascii() else 4 * len(value))
