"""What Python itself writes on standard error, as log lines: warnings, and errors that nobody caught."""

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import Any

_LOG = logging.getLogger("python")


def warnings_to_log() -> None:
    """Warnings that are shown go the way of all lines, for they quote what they warn of."""
    warnings.showwarning = _warned


def uncaught_to_log() -> None:
    """Errors that end a thread or the process, or that nothing can catch; for processes that are all ours."""
    sys.excepthook = _uncaught
    threading.excepthook = _ended_a_thread
    sys.unraisablehook = _unraisable


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    _LOG.warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _LOG.critical("an error ended the process", exc_info=(kind, error, trace))


def _ended_a_thread(hook: threading.ExceptHookArgs) -> None:
    if hook.exc_value is not None and not issubclass(hook.exc_type, SystemExit):
        name = hook.thread.name if hook.thread else None
        _LOG.error("an error ended thread %r", name, exc_info=(hook.exc_type, hook.exc_value, hook.exc_traceback))


def _unraisable(hook: "sys.UnraisableHookArgs") -> None:
    if hook.exc_value is not None:
        _LOG.error("an error could not be raised", exc_info=(hook.exc_type, hook.exc_value, hook.exc_traceback))
