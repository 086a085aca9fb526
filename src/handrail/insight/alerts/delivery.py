"""Sending: by a child process that ends when it has sent, and for tests by writing down."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from handrail.core import json
from handrail.insight.alerts.notices import Notice

CHILD = Path(__file__).parent / "child.py"
# Nothing else of the server's environment, which holds its secrets, and no proxy that would connect in its place.
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message; `error` is empty when it was taken."""

    notice_id: str
    error: str = ""


class Sender(Protocol):
    """The way to the channels."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Their names."""
        ...

    async def send(self, channel: str, notices: Sequence[Notice]) -> list[Outcome]:
        """One outcome a notice; never raises for what a channel does."""
        ...


class ChildSender:
    """By apprise, in a process that can reach only what the deployment's list lets it.

    Args:
        addresses: apprise URLs by name of the channel; they are secrets.
        allow, only_declared: the list of where to connect, as the settings have it.
        seconds: how long one round of messages may take.
    """

    def __init__(
        self, addresses: Mapping[str, str], *, allow: str = "", only_declared: bool = False, seconds: float = 30.0
    ) -> None:
        self._addresses = dict(addresses)
        self._border = {"allow": allow, "only_declared": only_declared}
        self._seconds = seconds

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self._addresses)

    async def send(self, channel: str, notices: Sequence[Notice]) -> list[Outcome]:
        url = self._addresses.get(channel)
        if url is None:
            return [Outcome(each.id, f"channel {channel!r} is not set any more") for each in notices]
        messages = [
            {"id": each.id, "url": url, "title": each.title, "body": _signed(each), "severity": _severity(each)}
            for each in notices
        ]
        answers, why = await self._run({**self._border, "messages": messages})
        return [Outcome(each.id, answers.get(each.id, why)) for each in notices]

    async def _run(self, asked: Mapping[str, object]) -> tuple[dict[str, str], str]:
        """Errors by notice, and why there is no answer for the others."""
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(CHILD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        answers: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._seconds):
                child.stdin.write(json.dumps(asked).encode())
                child.stdin.close()
                async for line in child.stdout:
                    answer = json.loads(line)
                    answers[str(answer["id"])] = "" if answer["ok"] else str(answer["error"]) or "it was not taken"
                await child.wait()
        except TimeoutError:
            return answers, f"it did not take the message within {self._seconds:g} s"
        except (OSError, ValueError, KeyError) as error:
            return answers, f"the process that sends broke off ({type(error).__name__})"
        finally:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        return answers, f"the process that sends ended with status {child.returncode}"


@dataclass(slots=True)
class RecordingSender:
    """Writes down what it is given; what `failing` names takes nothing."""

    channels: tuple[str, ...] = ("ops",)
    failing: set[str] = field(default_factory=set[str])
    sent: list[tuple[str, Notice]] = field(default_factory=list[tuple[str, Notice]])

    async def send(self, channel: str, notices: Sequence[Notice]) -> list[Outcome]:
        if channel in self.failing:
            return [Outcome(each.id, "no answer") for each in notices]
        self.sent += [(channel, each) for each in notices]
        return [Outcome(each.id) for each in notices]


def _signed(notice: Notice) -> str:
    """With the key by which a receiver knows a message that comes twice."""
    return f"{notice.body}\nnotice: {notice.id}"


def _severity(notice: Notice) -> str:
    return "info" if notice.kind == "resolved" else notice.severity
