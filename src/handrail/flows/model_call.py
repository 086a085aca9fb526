"""The governor of model calls: every call of a turn passes here."""

from collections.abc import AsyncIterator

from handrail.core.deadline import Deadline
from handrail.core.models import ModelClient, ModelEvent, ModelRequest
from handrail.serving.resilience import Waits


class GovernedModel:
    """A model within the turn's deadline, its waiting time measured."""

    def __init__(self, client: ModelClient, waits: Waits) -> None:
        self.provider = client.provider
        self.model = client.model
        self._client = client
        self._waits = waits

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncIterator[ModelEvent]:
        deadline.require()
        stream = self._client.stream(request, deadline)
        waits = self._waits
        try:
            while True:
                waits.enter()
                try:
                    event = await anext(stream)
                except StopAsyncIteration:
                    return
                finally:
                    waits.leave()
                yield event
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def close(self) -> None:
        """The client belongs to the process and stays open."""
