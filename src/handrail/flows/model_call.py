"""The governor of model calls: every call of a turn passes here."""

from collections.abc import AsyncIterator
from dataclasses import replace

from handrail.core.deadline import Deadline
from handrail.core.models import ModelAnswer, ModelClient, ModelEvent, ModelRequest
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
                yield _storable(event)
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def close(self) -> None:
        """The client belongs to the process and stays open."""


def _storable(event: ModelEvent) -> ModelEvent:
    """Without the character zero, which PostgreSQL does not take in a text."""
    if isinstance(event, ModelAnswer):
        calls = tuple(
            replace(
                call,
                name=_clean(call.name),
                arguments=_clean(call.arguments),
                provider_id=call.provider_id and _clean(call.provider_id),
            )
            for call in event.tool_calls
        )
        return replace(event, text=_clean(event.text), tool_calls=calls)
    return replace(event, text=_clean(event.text)) if "\0" in event.text else event


def _clean(text: str) -> str:
    return text.replace("\0", "")
