import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from handrail.protection.privacy import redact_event
from handrail.telemetry.logging import configure, logger
from handrail.telemetry.noise import MOST_KEPT, Repetitions, Sampled
from handrail.telemetry.trace import begin_trace
from handrail.telemetry.uncaught import uncaught_to_log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's; other tests get it back as it was."""
    names = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "sqlalchemy", "alembic", "dbos")
    before = [(logging.getLogger(n), logging.getLogger(n).handlers[:], logging.getLogger(n).level) for n in names]
    shown, made = warnings.showwarning, logging.getLogRecordFactory()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    for each in structlog.get_config()["processors"]:
        if isinstance(each, Sampled):
            each.close()
    warnings.showwarning = shown
    logging.setLogRecordFactory(made)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
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
        assert len(line.pop("trace_id")) == 32
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

    def test_of_nothing_in_particular_carry_the_trace_id_of_the_process(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        threads = [threading.Thread(target=logger().info, args=(each,)) for each in ("one", "two")]
        for each in threads:
            each.start()
            each.join()

        (trace,) = {line["trace_id"] for line in _lines(stream)}
        assert len(trace) == 32

    def test_below_the_level_are_left_out(self, stream: io.StringIO) -> None:
        configure(redact_event, level="warning", stream=stream)
        logger().info("ours")
        logging.getLogger("library").info("theirs")
        logger().error("shown")

        assert [line["event"] for line in _lines(stream)] == ["shown"]


class TestRedaction:
    def test_holds_for_extra_fields_that_a_library_shows_by_its_own_formatter(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        theirs, library = io.StringIO(), logging.getLogger("a.library")
        handler = logging.StreamHandler(theirs)
        handler.setFormatter(logging.Formatter("%(message)s %(to)s %(content)s %(tries)d %(more)s"))
        library.addHandler(handler)
        try:
            fields = {
                "to": "ann@example.com",
                "content": "my secret wish",
                "tries": 3,
                "more": {"by": "bob@example.com"},
            }
            library.warning("mail", extra=fields)
        finally:
            library.removeHandler(handler)
        assert "mail" in theirs.getvalue()
        assert " 3 " in theirs.getvalue()
        for text in (theirs.getvalue(), stream.getvalue()):
            assert "example.com" not in text
            assert "secret wish" not in text

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


class TestWhoeverWrites:
    """Redaction holds for every way in which words reach standard error."""

    @pytest.mark.parametrize("name", ["", "some.library", "dbos", "py.warnings", "asyncio"])
    def test_a_handler_that_a_library_adds_later_shows_what_is_redacted(self, stream: io.StringIO, name: str) -> None:
        configure(redact_event, stream=io.StringIO())
        library, own = logging.getLogger(name), logging.StreamHandler(stream)
        library.addHandler(own)
        try:
            library.warning("mail to %s", "ann@example.com")
            try:
                _raises()
            except ValueError:
                library.exception("failed for %(who)s", {"who": "bob@example.com"})
        finally:
            library.removeHandler(own)

        text = stream.getvalue()
        assert "example.com" not in text
        assert "mail to [email]" in text
        assert "no account for [email]" in text

    def test_a_library_that_writes_by_itself_finds_a_handler_already(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        assert logging.getLogger("dbos").handlers
        logging.getLogger("dbos").warning("mail to ann@example.com")

        assert [line["event"] for line in _lines(stream)] == ["mail to [email]"]

    def test_a_message_that_cannot_be_made_is_withheld_with_its_words(
        self, stream: io.StringIO, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure(redact_event, stream=stream)
        logging.getLogger("some.library").warning("%d of %s", "ann@example.com")

        assert [line["event"] for line in _lines(stream)] == ["a log line was withheld (TypeError)"]
        assert "ann" not in capsys.readouterr().err

    @pytest.mark.filterwarnings("default")
    def test_warnings_are_lines(self, stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
        with warnings.catch_warnings():
            configure(redact_event, stream=stream)
            warnings.simplefilter("always")
            warnings.warn("ann@example.com is deprecated", stacklevel=1)

        (line,) = _lines(stream)
        assert line["event"].startswith("UserWarning: [email] is deprecated (")
        assert capsys.readouterr().err == ""

    def test_an_error_that_ends_a_thread_or_the_process_is_a_line(
        self, stream: io.StringIO, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure(redact_event, stream=stream)
        uncaught_to_log()
        thread = threading.Thread(target=_raises)
        thread.start()
        thread.join()
        try:
            _raises()
        except ValueError as error:
            sys.excepthook(ValueError, error, error.__traceback__)

        assert [line["level"] for line in _lines(stream)] == ["error", "critical"]
        assert all("no account for [email]" in line["exception"] for line in _lines(stream))
        assert capsys.readouterr().err == ""

    def test_a_bound_logger_is_redacted(self, stream: io.StringIO) -> None:
        early = logger().bind(to="bob@example.com", token="s3cret")
        configure(redact_event, stream=stream)
        early.info("hello")
        logger().bind(to="ann@example.com", prompt="my secret wish").new(by="cy@example.com").warning("hello")

        text = stream.getvalue()
        assert "example.com" not in text
        assert "s3cret" not in text
        assert "wish" not in text


class TestNoise:
    async def test_is_said_once_and_summed_up_when_something_else_follows(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        traces: list[str] = []
        for _ in range(4):
            traces.append(begin_trace())
            logger().warning("it is down", code="store_unavailable")
        logger().error("something else")

        lines = _lines(stream)
        assert [line["event"] for line in lines] == ["it is down", "repeated 3 times: it is down", "something else"]
        assert lines[1]["repeated"] == 3
        assert lines[1]["traces"] == traces[1:]
        assert lines[1]["code"] == "store_unavailable"

    def test_of_libraries_is_summed_up_too(self, stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
        configure(redact_event, stream=stream)
        for _ in range(3):
            logging.getLogger("some.library").warning("it is down")
        logging.getLogger("other.library").warning("it is down")

        assert [(line["event"], line["logger"]) for line in _lines(stream)] == [
            ("it is down", "some.library"),
            ("repeated 2 times: it is down", "some.library"),
            ("it is down", "other.library"),
        ]
        assert capsys.readouterr().err == ""

    def test_that_is_pending_is_said_at_the_end(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        logger().warning("it is down")
        logger().warning("it is down")
        configure(redact_event, stream=io.StringIO())

        assert [line.get("repeated", 0) for line in _lines(stream)] == [0, 1]

    def test_is_never_what_tells_of_another_turn_nor_information(self, stream: io.StringIO) -> None:
        configure(redact_event, stream=stream)
        for each in ("turn_1", "turn_2"):
            logger().error("the end of a turn could not be stored", turn_id=each)
            logger().info("a job runs")

        assert len(_lines(stream)) == 4

    def test_is_said_anew_after_a_minute(self) -> None:
        now = [0.0]
        heard = Repetitions(lambda: now[0])
        line = {"event": "it is down", "level": "warning"}
        assert heard.heard(line) == (True, [])
        now[0] = 59.0
        assert heard.heard(line) == (False, [])
        assert heard.over() == []
        now[0] = 60.0
        assert [each["repeated"] for each in heard.over()] == [1]
        assert heard.heard(line) == (True, [])

    @given(st.lists(st.tuples(st.integers(0, 3 * MOST_KEPT), st.floats(0, 20)), max_size=300))
    def test_is_counted_to_the_last_line_in_bounded_memory(self, said: list[tuple[int, float]]) -> None:
        now, told = [0.0], 0
        heard = Repetitions(lambda: now[0])
        for each, seconds in said:
            now[0] += seconds
            is_new, due = heard.heard({"event": each % 5 if each % 2 else each, "level": "error"})
            told += is_new + sum(summary["repeated"] for summary in due)
            assert heard.size <= MOST_KEPT
        assert told + sum(summary["repeated"] for summary in heard.all()) == len(said)
