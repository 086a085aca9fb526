import io
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import structlog

from handrail.protection.privacy import redact_event
from handrail.telemetry.logging import configure, logger
from handrail.telemetry.trace import begin_trace


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's; other tests get it back as it was."""
    names = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "sqlalchemy", "alembic")
    before = [(logging.getLogger(n), logging.getLogger(n).handlers[:], logging.getLogger(n).level) for n in names]
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for each, handlers, level in before:
        each.handlers[:] = handlers
        each.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _raises() -> None:
    raise ValueError("no account for ann@example.com")


class TestLines:
    def test_are_json_with_level_time_and_fields(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        logger().info("turn completed", turn_id="turn_1", ms=3)

        (line,) = _lines(stream)
        assert line.pop("timestamp").endswith("Z")
        assert line == {"event": "turn completed", "level": "info", "turn_id": "turn_1", "ms": 3}

    def test_are_readable_on_a_terminal(self) -> None:
        terminal = Terminal()
        configure(redact_event, stream=terminal)
        logger().info("turn completed", turn_id="turn_1")

        assert "turn completed" in terminal.getvalue()
        assert not terminal.getvalue().startswith("{")

    async def test_carry_the_trace_id(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        trace = begin_trace()
        logger().info("one")
        logging.getLogger("library").warning("two")

        assert [line["trace_id"] for line in _lines(stream)] == [trace, trace]

    def test_below_the_level_are_left_out(self, stream: io.StringIO) -> None:
        configure(redact_event, level="warning", stream=stream)
        logger().info("ours")
        logging.getLogger("library").info("theirs")
        logger().error("shown")

        assert [line["event"] for line in _lines(stream)] == ["shown"]


class TestRedaction:
    @pytest.mark.parametrize("make", [io.StringIO, Terminal])
    def test_is_the_last_step_for_our_own_lines(self, make: type[io.StringIO]) -> None:
        stream = make()
        configure(redact_event, stream=stream)
        structlog.contextvars.bind_contextvars(by="bob@example.com")
        logger().info("mail to ann@example.com", to={"list": ["ann@example.com"]}, content="my secret wish")
        try:
            _raises()
        except ValueError as error:
            logger().error("failed", exc_info=error)

        text = stream.getvalue()
        assert "example.com" not in text
        assert "secret wish" not in text
        assert "no account for [email]" in text
        assert "_raises" in text

    @pytest.mark.parametrize("make", [io.StringIO, Terminal])
    @pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error", "some.library"])
    def test_holds_for_what_libraries_log(self, make: type[io.StringIO], name: str) -> None:
        stream = make()
        library = logging.getLogger(name)
        if name != "some.library":
            library.addHandler(logging.StreamHandler(stream))
        configure(redact_event, stream=stream)
        library.warning("mail to %s", "ann@example.com")
        try:
            _raises()
        except ValueError:
            library.exception("failed")

        text = stream.getvalue()
        assert text.count("mail to [email]") == 1
        assert "example.com" not in text
        assert "no account for [email]" in text

    def test_that_fails_withholds_the_line(self, stream: io.StringIO) -> None:
        def broken(_logger: Any, _method: str, _event: Mapping[str, Any]) -> dict[str, Any]:
            raise RuntimeError("can't")

        configure(broken, stream=stream)
        logger().info("mail to ann@example.com")
        logging.getLogger("library").warning("mail to ann@example.com")

        assert [(line["event"], line["error"]) for line in _lines(stream)] == [
            ("a log line was withheld", "RuntimeError")
        ] * 2
        assert "ann" not in stream.getvalue()


class TestConfigure:
    def test_twice_writes_every_line_once(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=io.StringIO())
        configure(redact_event, stream=stream)
        logger().info("ours")
        logging.getLogger("library").warning("theirs")

        assert [line["event"] for line in _lines(stream)] == ["ours", "theirs"]

    def test_quietens_what_metrics_count_already(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        logging.getLogger("uvicorn.access").info("GET /v1/conversations 200")

        assert stream.getvalue() == ""
