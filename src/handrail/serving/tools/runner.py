"""Run one tool call: check the arguments, call the function within its time, and say what came of it."""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_type_hints

from handrail.core.deadline import DeadlineExceeded
from handrail.core.errors import HandrailError
from handrail.core.messages import ToolCall, ToolResult
from handrail.core.tools import Tool, ToolContext
from handrail.serving.tools import policy
from handrail.serving.tools.arguments import InvalidArguments, decode
from handrail.serving.tools.result import as_json, error_json
from handrail.serving.tools.threads import ToolThreads

OnError = Callable[[Tool, ToolContext, BaseException], None]
LeftRunning = Callable[["asyncio.Future[Any]"], None]
_log = logging.getLogger("handrail.tools")


class ToolsBusy(HandrailError):
    """No thread became free while the call had time; the tool was not called."""

    code = "tools_busy"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a tool.

    Attributes:
        error: what came instead of a value.
        begun: the tool's function was called.
        is_whole: the result holds all that the tool returned.
    """

    result: ToolResult
    error: BaseException | None = None
    begun: bool = True
    is_whole: bool = True

    @property
    def is_answer(self) -> bool:
        """The tool has said what it has to say, or nobody could answer such arguments: no use asking elsewhere."""
        return policy.is_answer(self.error) if self.begun else isinstance(self.error, InvalidArguments)

    @property
    def is_passing(self) -> bool:
        """The same call may succeed in a moment."""
        return self.begun and self.error is not None and policy.is_passing(self.error)

    @property
    def code(self) -> str:
        """Why there is no value, for the record."""
        if isinstance(self.error, HandrailError):
            return self.error.code
        return "timeout" if isinstance(self.error, TimeoutError) else "tool_failed"


class ToolRunner:
    """Shared by all turns of a process.

    Args:
        most_threads: how many blocking tools may run at once; more wait, within their own time.
        most_result_bytes: longer results are cut and marked.
        on_error: told of every exception that a tool did not mean for the agent.
    """

    def __init__(
        self, *, most_threads: int = 32, most_result_bytes: int = 64 * 1024, on_error: OnError | None = None
    ) -> None:
        self._threads = ToolThreads(most_threads)
        self._most_result_bytes = most_result_bytes
        self._on_error = on_error or log_error

    async def attempt(
        self, tool: Tool, call: ToolCall, context: ToolContext, *, left_running: LeftRunning | None = None
    ) -> Attempt:
        """Call the tool once. What happens inside it comes back as a result; only a cancelled turn raises.

        Args:
            left_running: told of what still runs when nobody waits for it any more, so that its place stays taken.
        """
        try:
            parsed = tool.parse(decode(call.arguments))
        except InvalidArguments as error:
            return Attempt(_failed(call, error.code, error.message), error, begun=False)
        seconds = context.deadline.within(tool.timeout_seconds)
        if seconds <= 0:
            late = DeadlineExceeded(f"{tool.name} was not called: no time is left")
            return Attempt(_failed(call, late.code, late.message), late, begun=False)
        if tool.context_parameter:
            parsed[tool.context_parameter] = context
        try:
            value = await self._call(tool, parsed, seconds, left_running or _forget)
        except _TimedOut as timeout:
            return _timed_out(tool, call, seconds, begun=timeout.begun)
        except _Raised as raised:
            return Attempt(self._raised(tool, call, context, raised.error), raised.error)
        content, is_whole = as_json(value, self._most_result_bytes)
        return Attempt(_result(call, content, "completed"), is_whole=is_whole)

    async def reconcile(self, tool: Tool, call: ToolCall, context: ToolContext) -> ToolResult | None:
        """Ask the tool whether an earlier attempt of this call took effect: its result, or None when it did not.

        The project's `reconcile` takes the tool's own arguments, and its context if it declares a `ToolContext`; it
        returns what the tool would have returned, or None. When it can't tell (it raises, or takes too long) the
        outcome stays `unknown`.
        """
        assert tool.reconcile is not None, "the caller looks first"
        asks = replace(tool, function=tool.reconcile, is_async=inspect.iscoroutinefunction(tool.reconcile))
        try:
            parsed = tool.parse(decode(call.arguments))
        except InvalidArguments as error:
            return _failed(call, error.code, error.message)
        name = _context_parameter(tool.reconcile)
        if name:
            parsed[name] = context
        try:
            value = await self._call(asks, parsed, context.deadline.within(tool.timeout_seconds), _forget)
        except _TimedOut:
            return _result(
                call, error_json("unknown", f"{tool.name} could not say in time what became of it"), "unknown"
            )
        except _Raised as raised:
            self._on_error(tool, context, raised.error)
            return _result(call, error_json("unknown", f"{tool.name} could not say what became of it"), "unknown")
        return None if value is None else _result(call, as_json(value, self._most_result_bytes)[0], "completed")

    def close(self) -> None:
        """Let idle threads go; a tool that is still running is left to itself."""
        self._threads.close()

    async def _call(self, tool: Tool, arguments: dict[str, Any], seconds: float, left_running: LeftRunning) -> Any:
        if tool.is_async:
            return await _within(tool.function(**arguments), seconds, left_running)
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        value = await self._in_thread(lambda: tool.function(**arguments), seconds, left_running)
        if inspect.isawaitable(value):
            # A plain function that returns a coroutine, as wrappers of async functions do.
            return await _within(value, max(0.0, ends_at - loop.time()), left_running)
        return value

    async def _in_thread(self, function: Callable[[], Any], seconds: float, left_running: LeftRunning) -> Any:
        future = self._threads.submit(function)
        waiter = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=seconds)
        except asyncio.CancelledError:
            _leave(waiter, left_running, begun=not future.cancel())
            raise
        if not done:
            begun = not future.cancel()
            _leave(waiter, left_running, begun=begun)
            raise _TimedOut(begun=begun)
        return _value(waiter)

    def _raised(self, tool: Tool, call: ToolCall, context: ToolContext, error: BaseException) -> ToolResult:
        code, message = policy.explain(error, tool)
        if code in ("tool_failed", "unknown"):
            self._on_error(tool, context, error)
        return _result(call, error_json(code, message), policy.status_after(error, tool))


def log_error(tool: Tool, context: ToolContext, error: BaseException) -> None:
    """Class and place of the exception. Not its text, which may hold what a customer wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "unknown place"
    _log.error(
        "tool %s raised %s at %s (%s, %s)",
        tool.name,
        type(error).__name__,
        place,
        context.tool_call_id,
        context.release_id,
    )


def _context_parameter(function: Callable[..., Any]) -> str | None:
    """The parameter that takes the `ToolContext`, if the function declares one."""
    hints = get_type_hints(function)
    return next((name for name in inspect.signature(function).parameters if hints.get(name) is ToolContext), None)


class _TimedOut(Exception):
    def __init__(self, *, begun: bool) -> None:
        self.begun = begun


class _Raised(Exception):
    """What the tool raised, apart from what the runner itself may raise."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _within(awaitable: Awaitable[Any], seconds: float, left_running: LeftRunning) -> Any:
    """Wait without hanging on a tool that ignores its cancellation."""
    task = asyncio.ensure_future(_guarded(awaitable))
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        _leave(task, left_running, begun=True)
        raise
    if not done:
        task.cancel()
        _leave(task, left_running, begun=True)
        raise _TimedOut(begun=True)
    return _value(task)


def _leave(running: "asyncio.Future[Any]", left_running: LeftRunning, *, begun: bool) -> None:
    """Nobody waits for this any more; what has begun may go on for as long as it likes."""
    running.add_done_callback(_forget)
    if begun:
        left_running(running)


async def _guarded(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except (SystemExit, KeyboardInterrupt) as error:
        # Let through, it would stop the event loop and every other turn with it.
        raise _Raised(error) from error


def _value(done: "asyncio.Future[Any]") -> Any:
    if done.cancelled():
        raise _Raised(asyncio.CancelledError())
    error = done.exception()
    if error is None:
        return done.result()
    raise error if isinstance(error, _Raised) else _Raised(error)


def _forget(done: "asyncio.Future[Any]") -> None:
    """Take note of a late answer, so that nobody is warned about an exception that nobody read."""
    if done.done() and not done.cancelled():
        done.exception()


def _result(call: ToolCall, content: str, status: Literal["completed", "failed", "unknown"]) -> ToolResult:
    return ToolResult(call.id, call.name, content, status, call.provider_id)


def _failed(call: ToolCall, code: str, message: str) -> ToolResult:
    return _result(call, error_json(code, message), "failed")


def _timed_out(tool: Tool, call: ToolCall, seconds: float, *, begun: bool) -> Attempt:
    if not begun:
        busy = ToolsBusy(f"{tool.name} was not called: too many tools are running; try later")
        return Attempt(_failed(call, busy.code, busy.message), busy, begun=False)
    code, message = policy.explain_timeout(tool, seconds)
    result = _result(call, error_json(code, message), policy.status_after_timeout(tool))
    return Attempt(result, TimeoutError(message))
