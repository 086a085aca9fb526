"""Sends messages by apprise, in a process of its own that can reach only what the deployment lets it.

Run by its path, so that nothing of the server is loaded but the list of where to connect. Reads one JSON value, writes
one line a message. Closed: a connection that can't be judged is refused, and so is running any other program.
"""

import errno
import json
import logging
import re
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, unquote_plus

from handrail.egress.policy import EgressRules, rules_of

# How a plugin could get out past the list.
FORBIDDEN = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn",
)  # fmt: skip
ADDRESSED = ("socket.connect", "socket.sendto", "socket.sendmsg")
MOST_SAID = 300


class Border:
    """Judges every address after its name is resolved, however the connection is made."""

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules
        self._hosts: dict[str, set[str]] = {}
        self._resolve: Callable[..., Any] = socket.getaddrinfo

    def close(self) -> None:
        """From here on nothing else is reached; there is no way back in this process."""
        socket.getaddrinfo = self._resolved
        sys.addaudithook(self._judge)

    def _resolved(self, host: Any, *rest: Any, **named: Any) -> Any:
        found = self._resolve(host, *rest, **named)
        name = host.decode() if isinstance(host, bytes) else str(host)
        judged = [(each, self._objection(name, str(each[4][0]))) for each in found]
        allowed = [each for each, objection in judged if objection is None]
        if judged and not allowed:
            raise _refused(name, judged[0][1] or "")
        for each in allowed:
            self._hosts.setdefault(str(each[4][0]), set()).add(name)
        return allowed

    def _judge(self, event: str, given: Sequence[Any]) -> None:
        if event in FORBIDDEN:
            raise PermissionError(errno.EACCES, f"a channel may not run programs ({event})")
        if event in ADDRESSED and given[1] is not None:
            self._judge_address(given[1])

    def _judge_address(self, address: Any) -> None:
        if not isinstance(address, tuple) or not address:
            raise _refused(str(address), "is no internet address")
        text = str(address[0])
        hosts = self._hosts.get(text, {text})
        objections = [self._objection(host, text) for host in hosts]
        if None not in objections:
            raise _refused(text, objections[0] or "")

    def _objection(self, host: str, text: str) -> str | None:
        try:
            return self._rules.objection(host, ip_address(text.partition("%")[0]))
        except ValueError:
            return "is not resolved"


def _refused(host: str, why: str) -> OSError:
    return PermissionError(
        errno.EACCES, f"no connection to {host!r}: it {why}; if it is meant, name it in HANDRAIL_EGRESS__ALLOW"
    )


class _Said(logging.Handler):
    """The last thing that went wrong."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def without(text: str, url: str) -> str:
    """What went wrong, with nothing that stands in the channel's address: any part of it may be its secret."""
    said = [part for part in re.split(r"[/:@?&=#,;]+", url.partition("://")[2]) if part]
    # A plugin may tell of them as they were written, or as they were meant.
    parts = {each for part in said for each in (part, unquote(part), unquote_plus(part)) if len(each) > 3}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "***")
    return text.replace(url, "***")[:MOST_SAID]


def send(message: dict[str, str], said: _Said) -> dict[str, Any]:
    """One message to one address."""
    import apprise

    said.lines.clear()
    kind = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}
    try:
        sender = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, secure_logging=True))
        if not sender.add(message["url"]):
            return {"id": message["id"], "ok": False, "error": "this is no address that can be sent to"}
        ok = sender.notify(
            title=message["title"],
            body=message["body"],
            notify_type=kind.get(message["severity"], apprise.NotifyType.INFO),
            body_format=apprise.NotifyFormat.TEXT,
        )
        error = "" if ok else "; ".join(said.lines[-3:]) or "it was not taken"
    except Exception as broken:  # noqa: BLE001 - a plugin's own failure is this message's, not the next one's
        ok, error = False, f"{type(broken).__name__}: {broken}"
    return {"id": message["id"], "ok": bool(ok), "error": without(error, message["url"])}


def main() -> None:
    """Everything that is asked for, each answered as it ends."""
    asked = json.load(sys.stdin)
    said = _Said()
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [said], False
    logger.setLevel(logging.INFO)
    Border(rules_of(asked["allow"], only_declared=asked["only_declared"])).close()
    answers = sys.stdout
    # Whatever a plugin prints is not an answer.
    sys.stdout = sys.stderr
    for message in asked["messages"]:
        answers.write(json.dumps(send(message, said)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
