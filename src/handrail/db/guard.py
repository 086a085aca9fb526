"""What may stand in front of a database over the network: asked before each use, and told how it went."""

from collections.abc import Callable
from typing import Protocol


class StorePermit(Protocol):
    """The right to one use. It is reported on once; what comes after is ignored."""

    def success(self, seconds: float) -> None: ...
    def failure(self, seconds: float) -> None: ...
    def cancelled(self) -> None: ...


class Unguarded:
    """A permit that anybody gets."""

    def success(self, seconds: float) -> None:
        """Nobody is told."""

    def failure(self, seconds: float) -> None:
        """Nobody is told."""

    def cancelled(self) -> None:
        """Nobody is told."""


# Raises `StoreUnavailable` while the database is not to be asked.
StoreGuard = Callable[[], StorePermit]
