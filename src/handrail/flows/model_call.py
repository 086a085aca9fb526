"""The governor of model calls: breaker -> call, within its time -> retry -> the next model of the chain.

Every call of a turn passes here. Before the first token all of it is silent; after it the same model is not asked
again, and another one begins the answer anew (`Restarted`). What was tried is kept with the turn.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import cast

from handrail.core.deadline import Deadline, DeadlineExceeded
from handrail.core.errors import HandrailError
from handrail.core.models import (
    ModelAnswer,
    ModelDenied,
    ModelError,
    ModelEvent,
    ModelRefused,
    ModelRequest,
    ModelTooSlow,
    ModelUnavailable,
    ReasoningDelta,
    Restarted,
    TextDelta,
)
from handrail.flows import spans
from handrail.flows.ledger import charge_lost
from handrail.flows.services import ActiveTurn, Services
from handrail.flows.spans import ChatSpan
from handrail.flows.spent import Spent
from handrail.serving.models import ModelTier
from handrail.serving.resilience import BreakerOpen, Rung, model_key, model_ladder

# While another model could answer, nobody waits longer than this for the same one to be tried again.
MOST_WAIT_SECONDS = 1.0
# A timer may fire a clock tick early.
TICK_SECONDS = 0.01
NOBODY = "nobody"


class GovernedModel:
    """The chain of models of a turn's release, as one model."""

    def __init__(self, services: Services, active: ActiveTurn) -> None:
        first = active.release.chain[0].client
        self.provider = first.provider
        self.model = first.model
        self.origin = first.origin
        self.account = first.account
        self._services = services
        self._active = active

    async def stream(self, request: ModelRequest, deadline: Deadline) -> AsyncGenerator[ModelEvent]:
        """As every model's; raises what the last model failed with when none of the chain answers."""
        deadline.require()
        now, tenant_id = self._services.clock.monotonic, self._active.turn.tenant_id
        descent = _Descent(self._services, self._active, deadline)
        while True:
            tier, began = descent.tier, now()
            try:
                self._services.switches.require_model(tenant_id, tier.client.provider, tier.client.model)
                permit = self._services.breakers.guard(descent.key)
            except BreakerOpen as refused:
                descent.next_model(refused)
                continue
            try:
                async for event in self._asked(tier, request, deadline, descent):
                    if descent.replaces(event):
                        yield Restarted()
                    yield event
                permit.success(now() - began)
                descent.answered()
                return
            except ModelError as error:
                permit.ended(error, now() - began)
                failed = error
            except DeadlineExceeded as error:
                permit.ended(error, now() - began)
                descent.gave_up(error)
                raise
            except asyncio.CancelledError:
                if deadline.remaining() <= TICK_SECONDS:
                    # The turn's own timer was faster than the call's: the model used the time up all the same.
                    permit.failure(now() - began)
                raise
            finally:
                # Reported already, unless the turn was stopped: that says nothing about the model.
                permit.cancelled()
            if not await descent.may_try_again(failed):
                descent.next_model(failed)

    async def close(self) -> None:
        """The clients belong to the process and stay open."""

    async def _asked(
        self, tier: ModelTier, request: ModelRequest, deadline: Deadline, descent: "_Descent"
    ) -> AsyncGenerator[ModelEvent]:
        """One call of one model, the time it is waited for measured; too slow with its first token, it is over."""
        if self._active.is_call_lost:
            await charge_lost(self._services, self._active, tier.client, request)
        waits, span, last = self._active.waits, ChatSpan(self._active, tier.client, descent.rung.value), None
        spent, is_failed = Spent(self._services, self._active, tier.client, request), False
        events = tier.client.stream(replace(request, traceparent=span.traceparent), deadline)
        try:
            waits.enter()
            try:
                event = await _first(events, tier, deadline, descent.patience_seconds())
            finally:
                waits.leave()
            span.first()
            while event is not None:
                told = _storable(event)
                spent.see(told)
                told = self._priced(tier, told) if isinstance(told, ModelAnswer) else told
                yield told
                last = told
                waits.enter()
                try:
                    event = await anext(events, None)
                finally:
                    waits.leave()
        except HandrailError as error:
            is_failed = True
            span.failed(error)
            raise
        finally:
            spent.settle(is_failed=is_failed)
            span.close(last)
            if isinstance(events, AsyncGenerator):
                await cast(AsyncGenerator[ModelEvent], events).aclose()

    def _priced(self, tier: ModelTier, answer: ModelAnswer) -> ModelEvent:
        services = self._services
        url, called = tier.url, tier.client.model
        cost = services.prices.cost(url, called, answer.model, answer.usage, services.clock.micros())
        return replace(answer, cost_micros=cost)


class _Descent:
    """One model call on its way down the chain: which model is next, what was tried, whether the user saw text."""

    def __init__(self, services: Services, active: ActiveTurn, deadline: Deadline) -> None:
        self._services = services
        self._active = active
        self._deadline = deadline
        self._chain = active.release.chain
        self._at = 0
        self._attempt = 1
        self._ladder = model_ladder(has_secondary=len(self._chain) > 1)
        self._has_said = False
        self._is_stale = False
        self._enter()

    @property
    def _models_left(self) -> int:
        return len(self._chain) - self._at

    @property
    def rung(self) -> Rung:
        if self._at:
            return Rung.SECONDARY
        return Rung.PRIMARY if self._attempt == 1 else Rung.RETRY

    def patience_seconds(self) -> float:
        """Until the first token: the limit, and never so much that the models below get no time."""
        limit = self.tier.first_token_seconds or self._services.limits.first_token_seconds
        return min(limit, self._deadline.remaining() / self._models_left)

    def answered(self) -> None:
        if self.rung is Rung.PRIMARY:
            self._services.metrics.rung(self._active.turn.agent, "model", Rung.PRIMARY.value)
        else:
            self._ladder = self._ladder.answered(self.rung, self.tier.name)
            self._record()

    async def may_try_again(self, error: ModelError) -> bool:
        """Wait for another attempt at the same model, if it is worth one."""
        is_last = self._models_left == 1
        if self._has_said or (isinstance(error, ModelTooSlow) and not is_last):
            return False
        most = None if is_last else MOST_WAIT_SECONDS
        self._active.waits.enter()
        try:
            again = await self._services.retries.wait(self.key, self._attempt, error, self._deadline, most_seconds=most)
        finally:
            self._active.waits.leave()
        if not again:
            return False
        self._failed(error)
        self._attempt += 1
        spans.fell_back(self._active, "retry", self.tier.client.model, error.code)
        return True

    def next_model(self, error: ModelError | BreakerOpen) -> None:
        """Go one model down; raises when there is none, or when it could do no better."""
        is_hopeless = isinstance(error, ModelRefused) and not isinstance(error, ModelDenied)
        if self._models_left == 1 or is_hopeless:
            self.gave_up(error)
            seen = self._as_seen(error)
            if seen is not error:
                raise seen from error
            raise seen
        self._failed(error)
        self._is_stale, self._has_said = self._is_stale or self._has_said, False
        failed, self._at, self._attempt = self.tier, self._at + 1, 1
        self._enter()
        self._services.metrics.fallback(failed.client, self.tier.client, error)
        spans.fell_back(self._active, "fallback", self.tier.client.model, error.code)

    def gave_up(self, error: HandrailError) -> None:
        """There is no answer: what remains is to say so."""
        self._failed(error)
        self._ladder = self._ladder.answered(Rung.HONEST, NOBODY)
        self._record()

    def replaces(self, event: ModelEvent) -> bool:
        """Whether this is the first word of an answer that stands in for one that broke off.

        Only then is what the user sees taken back: until there is better, half an answer stays.
        """
        if isinstance(event, ReasoningDelta):
            return False
        self._has_said = self._has_said or isinstance(event, TextDelta)
        replaces, self._is_stale = self._is_stale, False
        return replaces

    def _enter(self) -> None:
        self.tier = self._chain[self._at]
        client = self.tier.client
        self.key = model_key(client.origin, client.model, client.account)
        self._services.retries.began(self.key)

    def _as_seen(self, error: ModelError | BreakerOpen) -> ModelError:
        """The error as the loop knows errors, telling whether the user has seen a part of an answer."""
        after_text = self._has_said or self._is_stale
        if isinstance(error, ModelError) and error.after_text == after_text:
            return error
        kind = type(error) if isinstance(error, ModelError) else ModelUnavailable
        return kind(error.message, after_text=after_text, retry_after_seconds=error.retry_after_seconds)

    def _failed(self, error: HandrailError) -> None:
        self._ladder = self._ladder.failed(self.rung, self.tier.name, error.code)

    def _record(self) -> None:
        self._active.ladder += self._ladder.as_record()
        taken = self._ladder.taken
        assert taken is not None, "a ladder is recorded when its last step is known"
        self._services.metrics.rung(self._active.turn.agent, "model", taken.rung.value)


async def _first(
    events: AsyncIterator[ModelEvent], tier: ModelTier, deadline: Deadline, patience_seconds: float
) -> ModelEvent | None:
    try:
        async with asyncio.timeout(patience_seconds):
            return await anext(events, None)
    except TimeoutError as error:
        if deadline.remaining() <= TICK_SECONDS:
            raise DeadlineExceeded(
                "the turn's deadline has passed; send the message again or ask for a person"
            ) from error
        raise ModelTooSlow(
            f"model {tier.client.model!r} at {tier.client.origin} gave no first token in {patience_seconds:.3g} s; "
            "look at its provider, or raise first_token_timeout_seconds"
        ) from error


def _storable(event: ModelEvent) -> ModelEvent:
    """Without the character zero, which PostgreSQL does not take in a text, and without counts that can't be."""
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
        usage = event.usage.plausible()
        return replace(event, text=_clean(event.text), tool_calls=calls, model=_clean(event.model), usage=usage)
    if isinstance(event, Restarted):
        return event
    return replace(event, text=_clean(event.text)) if "\0" in event.text else event


def _clean(text: str) -> str:
    return text.replace("\0", "")
