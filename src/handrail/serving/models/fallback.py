"""Several models in a row, for as long as the user has seen nothing."""

from collections.abc import AsyncGenerator, Callable, Sequence

from handrail.core.deadline import Deadline
from handrail.core.models import ModelClient, ModelError, ModelEvent, ModelRefused, ModelRequest, TextDelta

OnFallback = Callable[[ModelClient, ModelClient, ModelError], None]


class FallbackChain:
    """Tries the next model when one fails before its first text.

    After text the error goes up: a second model would say something else. A refused request goes up too: it is
    wrong for every model, or the key is. `on_fallback(from, to, error)` hears of every fall.
    """

    def __init__(self, clients: Sequence[ModelClient], on_fallback: OnFallback | None = None) -> None:
        if not clients:
            raise ValueError("a fallback chain needs at least one model")
        self.provider = clients[0].provider
        self.model = clients[0].model
        self._clients = tuple(clients)
        self._on_fallback = on_fallback

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        last = len(self._clients) - 1
        for index, client in enumerate(self._clients):
            said = False
            events = client.stream(request, deadline)
            try:
                async for event in events:
                    said = said or isinstance(event, TextDelta)
                    yield event
                return
            except ModelRefused:
                raise
            except ModelError as error:
                if said or error.after_text or index == last:
                    raise
                if self._on_fallback is not None:
                    self._on_fallback(client, self._clients[index + 1], error)
            finally:
                if isinstance(events, AsyncGenerator):
                    await events.aclose()

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
