import asyncio
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from handrail import ToolContext, ToolError, ToolUnavailable, tool
from handrail.core import json
from handrail.core.deadline import Deadline
from handrail.core.errors import UsageError
from handrail.core.messages import ToolCall, ToolResult
from handrail.core.principal import Principal
from handrail.core.tools import Effect, Tool
from handrail.serving.tools import ToolRunner, collect

CONTEXT = ToolContext(
    Principal("default", "demo-customer"), "conv_1", "turn_1", "call_1", "key_1", "rel_1", Deadline.after(3600)
)


def made(function: Callable[..., Any]) -> Tool:
    module = types.ModuleType("tools")
    module.function = function  # pyright: ignore
    return next(iter(collect(module).values()))


def returning(value: Any) -> Tool:
    @tool(effect="read")
    async def get() -> Any:
        """Get."""
        return value

    return made(get)


def raising(error: BaseException, effect: Effect = "read") -> Tool:
    @tool(effect=effect)
    def get() -> None:
        """Get."""
        raise error

    return made(get)


def call(one: Tool, arguments: str = "") -> ToolCall:
    return ToolCall("call_1", one.name, arguments, "provider_1")


def run(one: Tool, arguments: str = "", context: ToolContext = CONTEXT, **settings: Any) -> ToolResult:
    async def story() -> ToolResult:
        runner = ToolRunner(**settings)
        try:
            return (await runner.attempt(one, call(one, arguments), context)).result
        finally:
            runner.close()

    return asyncio.run(story())


def error_of(result: ToolResult) -> tuple[str, str, str]:
    error = json.loads(result.content)["error"]
    return result.status, error["code"], error["message"]


class TestRun:
    def test_calls_with_parsed_arguments_and_the_context(self):
        @tool(effect="read")
        def get(order_id: str, context: ToolContext, limit: int = 3) -> dict[str, Any]:
            """Get."""
            return {"order_id": order_id, "limit": limit, "subject": context.principal.subject}

        result = run(made(get), '{"order_id": 1001}')
        assert result == ToolResult(
            "call_1", "get", '{"order_id":"1001","limit":3,"subject":"demo-customer"}', "completed", "provider_1"
        )

    def test_calls_an_async_tool_with_arguments_as_models_write_them(self):
        @tool(effect="read")
        async def double(number: int) -> int:
            """Double."""
            return 2 * number

        assert run(made(double), '{"number": "2"}').content == "4"

    @pytest.mark.parametrize("arguments", ['{"order_id": ', "[]", "null", '"A1001"', "1"])
    def test_tells_the_model_what_is_wrong_with_its_arguments(self, arguments: str):
        status, code, message = error_of(run(returning(1), arguments))
        assert (status, code) == ("failed", "invalid_arguments")
        assert "write one JSON object" in message

    def test_does_not_call_when_no_time_is_left(self):
        called: list[int] = []

        @tool
        def pay() -> None:
            """Pay."""
            called.append(1)

        context = replace(CONTEXT, deadline=Deadline.after(0))
        status, code, _ = error_of(run(made(pay), context=context))
        assert (status, code, called) == ("failed", "deadline_exceeded", [])

    def test_awaits_what_a_plain_function_returns(self):
        async def later() -> int:
            await asyncio.sleep(0)
            return 7

        @tool(effect="read")
        def get() -> Awaitable[int]:
            """Get."""
            return later()

        assert run(made(get)).content == "7"


class TestFailures:
    def test_a_tool_error_reaches_the_agent_in_its_own_words(self):
        result = run(raising(ToolError("this order was already refunded"), "write"))
        assert error_of(result) == ("failed", "tool_error", "this order was already refunded")

    def test_a_usage_error_reaches_the_agent_with_its_code(self):
        assert error_of(run(raising(UsageError("no such store 'X'"))))[1:] == ("invalid_request", "no such store 'X'")

    @pytest.mark.parametrize(
        "error", [ValueError("password=hunter2"), KeyError("secret"), SystemExit(3), KeyboardInterrupt()]
    )
    def test_other_exceptions_show_neither_text_nor_trace(self, error: BaseException):
        result = run(raising(error))
        name = type(error).__name__
        assert error_of(result) == ("failed", "tool_failed", f"get failed ({name}); nothing more is known")

    def test_exit_in_an_async_tool_does_not_stop_the_loop(self):
        @tool(effect="read")
        async def leave() -> None:
            """Leave."""
            sys.exit(1)

        assert error_of(run(made(leave)))[:2] == ("failed", "tool_failed")

    @pytest.mark.parametrize("error", [ValueError(), KeyError("id"), OSError(), SystemExit(1)])
    def test_a_write_that_ends_by_an_error_it_does_not_declare_is_unknown(self, error: BaseException):
        assert run(raising(error, "write")).status == "unknown"
        assert run(raising(error, "read")).status == "failed"

    def test_a_write_that_says_that_nothing_was_changed_failed(self):
        assert run(raising(ToolUnavailable("not now", retry_after_seconds=2), "write")).status == "failed"

    def test_a_write_whose_connection_broke_is_unknown(self):
        assert run(raising(ConnectionResetError(), "write")).status == "unknown"
        assert run(raising(TimeoutError(), "write")).status == "unknown"
        assert run(raising(ConnectionRefusedError(), "write")).status == "failed"
        assert run(raising(ConnectionResetError(), "read")).status == "failed"

    def test_tells_the_operator_what_the_agent_must_not_see(self):
        told: list[BaseException] = []
        error = RuntimeError("inner")
        run(raising(error), on_error=lambda tool, context, error: told.append(error))
        run(raising(ToolError("meant for the agent")), on_error=lambda tool, context, error: told.append(error))
        assert told == [error]

    def test_logs_the_place_of_an_exception_but_not_its_text(self, caplog: pytest.LogCaptureFixture):
        run(raising(RuntimeError("customer said: my card is 4111")))
        assert "RuntimeError" in caplog.text
        assert "test_runner.py:" in caplog.text
        assert "4111" not in caplog.text


class TestTimeout:
    @pytest.mark.parametrize(("effect", "status"), [("read", "failed"), ("write", "unknown")])
    def test_of_a_write_is_unknown_and_of_a_read_failed(self, effect: Effect, status: str):
        @tool(effect=effect, timeout_seconds=0.01)
        async def slow() -> None:
            """Slow."""
            await asyncio.sleep(60)

        said = error_of(run(made(slow)))
        assert said[:2] == (status, "timeout")
        assert ("may or may not" in said[2]) == (effect == "write")

    def test_does_not_wait_for_a_tool_that_ignores_its_cancellation(self):
        async def story() -> ToolResult:
            runner, one = ToolRunner(), made(stubborn)
            result = (await runner.attempt(one, call(one), CONTEXT)).result
            release.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return result

        release = asyncio.Event()

        @tool(effect="read", timeout_seconds=0.01)
        async def stubborn() -> None:
            """Stubborn."""
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        assert asyncio.run(story()).status == "failed"

    def test_is_cut_by_what_is_left_of_the_turn(self):
        @tool(effect="read", timeout_seconds=60)
        async def slow() -> None:
            """Slow."""
            await asyncio.sleep(60)

        began = time.monotonic()
        result = run(made(slow), context=replace(CONTEXT, deadline=Deadline.after(0.02)))
        assert result.status == "failed"
        assert time.monotonic() - began < 5

    def test_a_stuck_thread_keeps_its_slot_until_it_ends(self):
        free = threading.Event()
        calls: list[str] = []

        @tool(timeout_seconds=0.05)
        def stuck(name: str) -> str:
            """Stuck."""
            calls.append(name)
            free.wait(10)
            return name

        async def story() -> list[tuple[str, str, str] | str]:
            runner = ToolRunner(most_threads=1)
            one = made(stuck)
            first = (await runner.attempt(one, call(one, '{"name": "first"}'), CONTEXT)).result
            second = (await runner.attempt(one, call(one, '{"name": "second"}'), CONTEXT)).result
            free.set()
            third = (await runner.attempt(one, call(one, '{"name": "third"}'), CONTEXT)).result
            runner.close()
            return [error_of(first), error_of(second), third.content]

        first, second, third = asyncio.run(story())
        assert first[:2] == ("unknown", "timeout")
        assert second[:2] == ("failed", "tools_busy")
        assert third == '"third"'
        assert calls == ["first", "third"]

    def test_a_cancelled_turn_cancels_the_async_tool(self):
        seen: list[str] = []

        @tool(effect="read")
        async def slow() -> None:
            """Slow."""
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        async def story() -> None:
            task = asyncio.create_task(ToolRunner().attempt(made(slow), call(made(slow)), CONTEXT))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)

        asyncio.run(story())
        assert seen == ["cancelled"]

    def test_sync_tools_run_beside_one_another(self):
        meeting = threading.Barrier(3)

        @tool(effect="read", timeout_seconds=5)
        def meet() -> int:
            """Meet."""
            return meeting.wait(4)

        async def story() -> set[str]:
            runner = ToolRunner(most_threads=3)
            one = made(meet)
            results = await asyncio.gather(*(runner.attempt(one, call(one), CONTEXT) for _ in range(3)))
            runner.close()
            return {each.result.content for each in results}

        assert asyncio.run(story()) == {"0", "1", "2"}


class Opaque:
    def __str__(self) -> str:
        return "an order"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")


@dataclass
class Order:
    total: Decimal


class TestResult:
    @pytest.mark.parametrize(
        ("value", "content"),
        [
            (None, "null"),
            ({"total": Decimal("12.50"), "at": {1}}, '{"total":"12.50","at":[1]}'),
            (Order(Decimal(3)), '{"total":"3"}'),
            (float("nan"), "null"),
            ({1: "a"}, '{"1":"a"}'),
            ({"order": Opaque()}, '{"order":"an order"}'),
            (Opaque(), '{"text":"an order","note":"the tool returned a Opaque, shown as text"}'),
            (Broken(), '{"text":null,"note":"the tool returned a Broken that can\'t be shown"}'),
        ],
    )
    def test_says_whatever_came_back_as_json(self, value: Any, content: str):
        assert run(returning(value)).content == content

    def test_survives_a_value_that_contains_itself(self):
        knot: list[Any] = []
        knot.append(knot)
        assert "can't be shown" in run(returning(knot)).content

    def test_cuts_what_is_too_long_and_says_so(self):
        result = run(returning(['é"\n' * 10] * 500), most_result_bytes=4096)
        assert result.status == "completed"
        assert len(result.content.encode()) <= 4096 + 200
        cut = json.loads(result.content)
        assert cut["truncated"] is True
        assert "bytes" in cut["note"]

    def test_leaves_a_result_of_exactly_the_limit_whole(self):
        assert run(returning("x" * 98), most_result_bytes=100).content == '"' + "x" * 98 + '"'
        assert "truncated" in run(returning("x" * 99), most_result_bytes=100).content
