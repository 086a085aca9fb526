"""The story of how one tool call gets its answer, from best to last.

breaker -> bulkhead -> the tool -> again (budget, backoff, Retry-After) -> its secondary -> the last good value of this
very user's read, with its age -> an honest word. A write that is not idempotent takes the first step only, and only
reads are answered from elsewhere. What was tried goes into the record; a first try that succeeds leaves none.
"""

from dataclasses import replace

from handrail.core import json
from handrail.core.errors import HandrailError
from handrail.core.messages import ToolCall, ToolResult
from handrail.core.tools import Tool
from handrail.flows.gate import refused as error_result
from handrail.flows.gate import why_no_stand_in
from handrail.flows.services import ActiveTurn, Services
from handrail.serving.resilience import NotAttempted, Permit, ReadKey, Rung, tool_key, tool_ladder
from handrail.serving.tools import Attempt, LeftRunning, decode

# A tool that was given less than this, and less than its own time, has not shown that it hangs.
LEAST_FAIR_SECONDS = 1.0
MOST_WAIT_SECONDS = 1.0
ADVICE = "tell the user plainly that this can't be had now, and guess nothing"


class _GaveNothing(HandrailError):
    """A try without an answer."""

    code = "tool_failed"

    def __init__(self, attempt: Attempt) -> None:
        told = attempt.error.retry_after_seconds if isinstance(attempt.error, HandrailError) else None
        super().__init__("this try gave no answer", retry_after_seconds=told)
        self.attempt = attempt


class _MayPass(_GaveNothing):
    """A try without an answer; another may have one."""

    retryable = True


async def climb_down(
    services: Services, active: ActiveTurn, tool: Tool, call: ToolCall, *, in_doubt: bool = False
) -> ToolResult:
    """The call's result, by the first rung that has one; only a cancelled turn raises.

    Args:
        in_doubt: an earlier process made this call too, and what came of that is not known.
    """
    result, rung = await _Descent(services, active, tool, call, in_doubt=in_doubt).run()
    services.metrics.rung(active.turn.agent, "tool", rung.value)
    if rung is Rung.HONEST:
        active.unanswered_tools[tool.name] = None
    else:
        active.unanswered_tools.pop(tool.name, None)
    return result


class _Descent:
    """One call on its way down."""

    def __init__(self, services: Services, active: ActiveTurn, tool: Tool, call: ToolCall, *, in_doubt: bool) -> None:
        self._services = services
        self._active = active
        self._tool = tool
        self._call = call
        # Once a try of a write may have happened, no later refusal makes that untrue.
        self._in_doubt = in_doubt
        self._failed: list[tuple[Rung, str, str]] = []

    async def run(self) -> tuple[ToolResult, Rung]:
        tool, retries = self._tool, self._services.retries
        try:
            if tool.may_repeat:
                policy = None if tool.retries is None else replace(retries.policy, attempts=tool.retries + 1)
                # Nor is anybody kept waiting long for the same tool, when something else could answer.
                most = MOST_WAIT_SECONDS if self._has_more else None
                attempt = await retries.run(
                    self._key(tool), self._first, self._active.deadline, policy=policy, most_seconds=most
                )
            else:
                attempt = await self._first(1)
        except (_GaveNothing, NotAttempted) as error:
            return await self._below(error)
        self._keep(attempt)
        if not self._failed:
            return self._truthful(attempt.result, attempt), Rung.PRIMARY
        return self._recorded(self._truthful(attempt.result, attempt), Rung.RETRY, tool.name), Rung.RETRY

    def _key(self, tool: Tool) -> str:
        return tool_key(self._active.turn.agent, tool.name)

    @property
    def _has_more(self) -> bool:
        """Something else could answer."""
        return self._tool.secondary is not None or self._tool.last_good_seconds is not None

    async def _first(self, number: int) -> Attempt:
        return await self._try(self._tool, Rung.PRIMARY if number == 1 else Rung.RETRY)

    async def _try(self, tool: Tool, rung: Rung) -> Attempt:
        """One call that gives an answer, under breaker and bulkhead; what gives none raises and is on record."""
        services, active, key = self._services, self._active, self._key(tool)
        try:
            services.switches.require_tool(active.turn.tenant_id, tool.name)
            permit = services.breakers.guard(key)
            try:
                slot = await services.bulkhead.acquire(key, active.deadline, most=tool.bulkhead)
                with slot:
                    attempt = await self._ask(tool, permit, slot.release_after)
            finally:
                # What has been reported stays reported; a turn that was cancelled says nothing about the tool.
                permit.cancelled()
        except NotAttempted as error:
            self._failed.append((rung, tool.name, error.code))
            raise
        if attempt.is_answer:
            return attempt
        self._failed.append((rung, tool.name, attempt.code))
        self._in_doubt = self._in_doubt or attempt.result.status == "unknown"
        # One that hangs is not waited for twice while something else could answer.
        is_worth_it = attempt.is_passing and not (self._has_more and isinstance(attempt.error, TimeoutError))
        raise _MayPass(attempt) if is_worth_it else _GaveNothing(attempt)

    async def _ask(self, tool: Tool, permit: Permit, left_running: LeftRunning) -> Attempt:
        active, now = self._active, self._active.deadline.now
        fair = active.deadline.within(tool.timeout_seconds) >= min(tool.timeout_seconds, LEAST_FAIR_SECONDS)
        began = now()
        runner = self._services.tool_runner
        attempt = await runner.attempt(tool, self._call, active.tool_context(self._call), left_running=left_running)
        if attempt.begun and attempt.is_answer:
            permit.success(now() - began)
        elif attempt.begun and (fair or not isinstance(attempt.error, TimeoutError)):
            permit.failure(now() - began)
        return attempt

    async def _below(self, error: _GaveNothing | NotAttempted) -> tuple[ToolResult, Rung]:
        """The rungs below the tool itself."""
        secondary = await self._secondary()
        if secondary is not None:
            return secondary, Rung.SECONDARY
        cached = self._last_good()
        if cached is not None:
            return cached, Rung.CACHED
        return self._honest(error), Rung.HONEST

    async def _secondary(self) -> ToolResult | None:
        other = self._tool.secondary
        if other is None:
            return None
        refusal = await why_no_stand_in(self._services, self._active, self._call, other)
        if refusal is not None:
            self._failed.append((Rung.SECONDARY, other.name, refusal))
            return None
        try:
            attempt = await self._try(other, Rung.SECONDARY)
        except (_GaveNothing, NotAttempted):
            return None
        if attempt.error is not None:
            # What the usual source would have said is not known, so a "no" of another one is no answer.
            self._failed.append((Rung.SECONDARY, other.name, attempt.code))
            return None
        return self._recorded(attempt.result, Rung.SECONDARY, other.name)

    def _keep(self, attempt: Attempt) -> None:
        tool = self._tool
        if tool.last_good_seconds is not None and attempt.error is None and attempt.is_whole:
            self._services.last_good.keep(self._read_key(), tool.effect, attempt.result.content)

    def _last_good(self) -> ToolResult | None:
        tool, call = self._tool, self._call
        kept = self._services.last_good.find(self._read_key()) if tool.last_good_seconds is not None else None
        if kept is None or kept.age_seconds > (tool.last_good_seconds or 0):
            return None
        result = ToolResult(call.id, call.name, kept.value, "completed", call.provider_id)
        return self._recorded(result, Rung.CACHED, tool.name, age_seconds=kept.age_seconds)

    def _read_key(self) -> ReadKey:
        """Another release may say the same thing in another shape, so each has its own values."""
        active = self._active
        return ReadKey.of(active.principal, f"{active.release.id}/{self._tool.name}", decode(self._call.arguments))

    def _honest(self, error: _GaveNothing | NotAttempted) -> ToolResult:
        """No answer: why, and what to say; for a write, whether it may have happened."""
        if isinstance(error, _GaveNothing):
            result = self._truthful(error.attempt.result, error.attempt)
        else:
            refusal = error_result(self._call, error.code, f"{self._tool.name} was not called: {error.message}")
            result = self._truthful(refusal, None)
        if result.status == "failed":
            content = json.loads(result.content)
            content["error"]["advice"] = ADVICE
            result = replace(result, content=json.dumps(content))
        return self._recorded(result, Rung.HONEST, self._tool.name)

    def _truthful(self, result: ToolResult, attempt: Attempt | None) -> ToolResult:
        """A write whose earlier try may have happened is unknown, whatever a later one says but success."""
        if not self._in_doubt or (attempt is not None and attempt.error is None):
            return result
        message = f"{self._tool.name} may or may not have happened; do not call it again, a person checks it"
        return replace(error_result(self._call, "unknown", message), status="unknown")

    def _recorded(self, result: ToolResult, rung: Rung, source: str, age_seconds: float | None = None) -> ToolResult:
        tool = self._tool
        ladder = tool_ladder(
            tool.effect,
            idempotent=tool.idempotent,
            has_secondary=tool.secondary is not None,
            is_cached=tool.last_good_seconds is not None,
        )
        for failed, asked, code in self._failed:
            ladder = ladder.failed(failed, asked, code)
        return replace(result, ladder=ladder.answered(rung, source, age_seconds=age_seconds).as_record())
