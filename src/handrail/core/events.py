"""The events of a turn, named once for SSE, WebSocket, replay and tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from handrail.core.messages import LadderRecord

QUEUED: Final = "turn.queued"
STARTED: Final = "turn.started"
ROUTE_DECIDED: Final = "route.decided"
MESSAGE_STARTED: Final = "message.started"
MESSAGE_DELTA: Final = "message.delta"
MESSAGE_RESTARTED: Final = "message.restarted"
MESSAGE_COMPLETED: Final = "message.completed"
TOOL_STARTED: Final = "tool.started"
TOOL_COMPLETED: Final = "tool.completed"
REQUIRES_ACTION: Final = "turn.requires_action"
COMPLETED: Final = "turn.completed"
FAILED: Final = "turn.failed"
CANCELLED: Final = "turn.cancelled"
NAMES: Final = (
    QUEUED,
    STARTED,
    ROUTE_DECIDED,
    MESSAGE_STARTED,
    MESSAGE_DELTA,
    MESSAGE_RESTARTED,
    MESSAGE_COMPLETED,
    TOOL_STARTED,
    TOOL_COMPLETED,
    REQUIRES_ACTION,
    COMPLETED,
    FAILED,
    CANCELLED,
)


def tool_completed(call_id: str, name: str, status: str, ladder: LadderRecord = ()) -> Mapping[str, Any]:
    """The data of `tool.completed`, live and replayed."""
    data: dict[str, Any] = {"id": call_id, "name": name, "status": status}
    if ladder:
        data["ladder"] = list(ladder)
        if "age_seconds" in ladder[-1]:
            data["age_seconds"] = ladder[-1]["age_seconds"]
    return data


ENDS_STREAM: Final = frozenset({REQUIRES_ACTION, COMPLETED, FAILED, CANCELLED})


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is `<epoch>.<seq>`: the lease epoch that wrote it and its place in that epoch."""

    epoch: int
    seq: int
    name: str
    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.epoch}.{self.seq}"
