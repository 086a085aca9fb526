"""What a model call used that broke off before its provider told, estimated: breaking a call off makes it no cheaper.

It counts against the caller's tokens a minute and in a metric of its own. On the books its cost is not known.
"""

import time
from collections.abc import Iterable

from handrail.core.answers import ModelCalled
from handrail.core.models import ModelAnswer, ModelClient, ModelEvent, ModelRequest, Restarted
from handrail.core.usage import BROKEN_OFF, Usage
from handrail.flows.services import ActiveTurn, Services

# Tokenizers make a token of about four bytes, in most scripts.
BYTES_A_TOKEN = 4


class Spent:
    """One call of one model, watched from its request on."""

    def __init__(self, services: Services, active: ActiveTurn, client: ModelClient, request: ModelRequest) -> None:
        self._services = services
        self._active = active
        self._client = client
        self._request = request
        self._began = time.perf_counter()
        self._said = 0
        self._has_begun = False
        self._is_told = False

    def see(self, event: ModelEvent) -> None:
        self._has_begun = True
        if isinstance(event, ModelAnswer):
            # What a provider leaves out of a whole answer stays unknown.
            self._is_told = True
        elif not isinstance(event, Restarted):
            self._said += len(event.text) if event.text.isascii() else len(event.text.encode(errors="replace"))

    def settle(self, *, is_failed: bool) -> None:
        """The call is over. One that failed before its first word is the provider's, and nobody's to pay."""
        if self._is_told or (is_failed and not self._has_begun):
            return
        client, usage = self._client, estimate_of(self._request, self._said)
        self._services.charge_tokens(self._active.principal, usage)
        self._services.metrics.tokens_estimated(self._active.turn.agent, client.model, usage)
        if not is_failed:
            # One that failed is told by the loop.
            self._services.metrics.insight.cost(self._active.turn.agent, client.model, None)
            milliseconds = round((time.perf_counter() - self._began) * 1000)
            self._active.calls.append(ModelCalled(client.provider, client.model, Usage(), milliseconds, BROKEN_OFF))


def estimate_of(request: ModelRequest, said_bytes: int = 0) -> Usage:
    """What a call used of which only the request is known, and how many bytes it said."""
    return Usage(_tokens(_texts(request)), -(-said_bytes // BYTES_A_TOKEN))


def _tokens(texts: Iterable[str]) -> int:
    return -(-sum(len(each.encode(errors="replace")) for each in texts) // BYTES_A_TOKEN)


def _texts(request: ModelRequest) -> Iterable[str]:
    yield request.instructions
    for message in request.messages:
        yield message.content
        yield from (call.arguments for call in message.tool_calls)
    yield from (each.text for each in request.documents)
