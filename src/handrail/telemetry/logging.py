"""Log lines: one chain for our own and for those of libraries, redaction always its last step before rendering.

JSON where a machine reads, readable text on a terminal. Nothing is set up by importing; `configure` is called once, by
whoever starts the process.
"""

import logging
import secrets
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from handrail.core import json
from handrail.telemetry.lines import Lines
from handrail.telemetry.noise import Sampled
from handrail.telemetry.trace import current_trace_id
from handrail.telemetry.uncaught import warnings_to_log

Level = Literal["debug", "info", "warning", "error"]
Redact = Callable[[Any, str, Mapping[str, Any]], MutableMapping[str, Any]]

# Their own handlers would write around the redaction; the access log repeats what metrics count.
_LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "sqlalchemy", "alembic")
# These write by themselves on standard error, past everybody, unless they find a handler of theirs.
_OUTSPOKEN = ("dbos",)
_QUIET = ("uvicorn.error", "uvicorn.access", "sqlalchemy", "alembic", "asyncio")


def logger() -> structlog.typing.FilteringBoundLogger:
    """The logger of whoever asks; fields are passed as keywords: `logger().info("turn completed", turn_id=...)`."""
    return structlog.get_logger()


def keep_off_standard_output() -> None:
    """Where nobody has called `configure`: a command's results are on standard output, so its lines must not be."""
    if not structlog.is_configured():
        # Asked for each time: what standard error is may change, as under a test.
        structlog.configure(
            logger_factory=lambda *_: structlog.WriteLogger(sys.stderr), cache_logger_on_first_use=False
        )


def configure(
    redact: Redact, *, level: Level = "info", json_lines: bool | None = None, stream: TextIO | None = None
) -> None:
    """Set up logging for this process.

    Args:
        redact: takes out personal data and content; runs after everything that adds to a line, and can't be left out.
        json_lines: one JSON object a line; by default wherever `stream` is no terminal.
        stream: standard error by default, for commands print their results on standard output.
    """
    out: TextIO = sys.stderr if stream is None else stream
    as_json = not out.isatty() if json_lines is None else json_lines
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _adds_trace_id(),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Before redaction, so that what an exception says is redacted too.
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    render = _renderer(as_json, out)
    lines = cast(TextIO, Lines(out))
    written = structlog.WriteLogger(lines)

    def write(event: EventDict) -> None:
        written.msg(str(render(None, "", event)))

    last: list[Processor] = [_fail_closed(redact), Sampled(write), render]
    number = logging.getLevelNamesMapping()[level.upper()]
    for before in structlog.get_config()["processors"]:
        if isinstance(before, Sampled):
            before.close()
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(lines),
        cache_logger_on_first_use=False,
    )
    _bridge([*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last], number, lines)
    logging.setLogRecordFactory(_redacted_records(redact))
    warnings_to_log()


def _bridge(processors: list[Processor], level: int, stream: TextIO) -> None:
    """Send everything that libraries log through the same chain."""
    handler = _Lines(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_add_logger_name, *processors]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.filters = [_not_said_twice]
        library.setLevel(max(level, logging.WARNING) if name in _QUIET else logging.NOTSET)
    for name in _OUTSPOKEN:
        library = logging.getLogger(name)
        library.handlers[:] = [logging.NullHandler()]
        library.propagate = True
        library.setLevel(max(level, logging.WARNING))


class _Lines(logging.StreamHandler[TextIO]):
    """Writes what the chain makes of a record. What goes wrong in it is said without the record's words."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(structlog.DropEvent):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        error = type(sys.exception()).__name__
        self.stream.write(_to_json({"event": "a log line was withheld", "error": error}) + "\n")


def _redacted_records(redact: Redact) -> Callable[..., logging.LogRecord]:
    """Records that are redacted when they are made: a library's own handler can't say more than ours."""
    closed = _fail_closed(redact)

    def masked(name: str, value: Any) -> Any:
        line = cast(Mapping[str, Any], closed(None, "", {name: value}))
        return line.get(name, "[withheld]")

    def made(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = logging.LogRecord(*arguments, **named)
        try:
            text = record.getMessage()
        except Exception as error:  # noqa: BLE001 - arguments that don't fit the message, or can't be shown
            text = f"a log line was withheld ({type(error).__name__})"
        record.msg, record.args = str(masked("event", text)), None
        if record.exc_info and record.exc_info[0] is not None:
            # What any formatter shows of an error instead of looking at it.
            shown = logging.Formatter().formatException(record.exc_info)
            record.exc_text = str(masked("exception", shown))
        record.__dict__ = _Extra(record.__dict__, masked)
        return record

    return made


class _Extra(dict[str, Any]):
    """What `extra=` adds to a record that is made: `Logger.makeRecord` writes it into the record's own dictionary,
    where a library's formatter finds it."""

    def __init__(self, known: Mapping[str, Any], masked: Callable[[str, Any], Any]) -> None:
        super().__init__(known)
        self._masked = masked

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, self._masked(name, value))


def _not_said_twice(record: logging.LogRecord) -> bool:
    """The server repeats every exception that the API's own handler has logged with its trace id."""
    return not record.getMessage().startswith("Exception in ASGI application")


def _adds_trace_id() -> Processor:
    """Of what is going on; what belongs to nothing, like the start, has the process's own."""
    own = secrets.token_hex(16)

    def add_trace_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["trace_id"] = current_trace_id() or own
        return event

    return add_trace_id


def _add_logger_name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["logger"] = event["_record"].name
    return event


def _fail_closed(redact: Redact) -> Processor:
    def redacted(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        try:
            return redact(logger, method, event)
        except Exception as error:  # noqa: BLE001 - a line that can't be redacted is worth less than a leak
            return {"event": "a log line was withheld", "level": event.get("level"), "error": type(error).__name__}

    return redacted


def _to_json(event: EventDict, **_renderers_own: object) -> str:
    return json.dumps(event)


def _renderer(as_json: bool, stream: TextIO) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(serializer=_to_json)
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
