"""Messages leave by a process of their own, which reaches only what it may; a receiver that fails is told of."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from handrail.insight.alerts import ChildSender, Notice
from handrail.insight.alerts.child import without
from handrail.insight.alerts.delivery import CHILD

NOTICE = Notice("ntc_1", "*", "ops", "firing", "critical", ("alrt_1",), "[critical] job failed", "it failed")


@dataclass
class Receiver:
    """A webhook that answers with these statuses one after another, or says nothing."""

    statuses: list[int] = field(default_factory=list[int])
    hangs: bool = False
    location: str = ""
    port: int = 0
    got: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        self.got.append(json.loads(await reader.readexactly(length)))
        if self.hangs:
            # Until the other side gives up.
            await reader.read()
        status = self.statuses.pop(0) if self.statuses else 200
        where = f"location: {self.location}\r\n" if self.location else ""
        writer.write(f"HTTP/1.1 {status} X\r\n{where}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[Receiver]:
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await asyncio.sleep(0.05)


def sender(receiver: Receiver, host: str = "127.0.0.1", allow: str = "127.0.0.1", seconds: float = 20) -> ChildSender:
    address = f"json://{host}:{receiver.port}/hooks/s3cr3t-t0ken?rto=15"
    return ChildSender({"ops": address}, allow=allow, seconds=seconds)


async def test_a_message_arrives_with_its_key() -> None:
    async with receiving(Receiver()) as receiver:
        outcomes = await sender(receiver).send("ops", [NOTICE])
    assert [(each.notice_id, each.error) for each in outcomes] == [("ntc_1", "")]
    (got,) = receiver.got
    assert (got["title"], got["type"]) == ("[critical] job failed", "failure")
    assert got["message"] == "it failed\nnotice: ntc_1"


async def test_one_that_is_refused_does_not_keep_the_next_and_its_address_is_not_told() -> None:
    second = Notice("ntc_2", "*", "ops", "resolved", "critical", (), "Resolved: job failed", "it works")
    async with receiving(Receiver([500, 200])) as receiver:
        outcomes = await sender(receiver).send("ops", [NOTICE, second])
    assert [bool(each.error) for each in outcomes] == [True, False]
    assert "s3cr3t" not in outcomes[0].error
    assert [each["type"] for each in receiver.got] == ["failure", "info"]


async def test_one_that_hangs_is_given_up_in_time() -> None:
    async with receiving(Receiver(hangs=True)) as receiver:
        began = time.monotonic()
        (outcome,) = await sender(receiver, seconds=3).send("ops", [NOTICE])
    assert outcome.error == "it did not take the message within 3 s"
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("host", "allow"), [("127.0.0.1", ""), ("localhost", ""), ("127.0.0.1", "hooks.example.com")])
async def test_an_address_that_is_not_declared_is_not_reached(host: str, allow: str) -> None:
    async with receiving(Receiver()) as receiver:
        (outcome,) = await sender(receiver, host, allow).send("ops", [NOTICE])
    assert outcome.error
    assert receiver.got == []


async def test_a_name_that_is_declared_is_reached_and_nothing_else_behind_a_redirect() -> None:
    async with receiving(Receiver()) as inner, receiving(Receiver()) as receiver:
        (good,) = await sender(receiver, "localhost", "localhost").send("ops", [NOTICE])
        receiver.statuses, receiver.location = [307], f"http://127.0.0.2:{inner.port}/"
        await sender(receiver, "localhost", "localhost").send("ops", [NOTICE])
    assert good.error == ""
    assert len(receiver.got) == 2
    assert inner.got == []


async def test_a_channel_that_is_not_set_any_more_says_so() -> None:
    (outcome,) = await ChildSender({}).send("ops", [NOTICE])
    assert outcome.error == "channel 'ops' is not set any more"


async def test_what_is_no_address_says_so_without_showing_it() -> None:
    (outcome,) = await ChildSender({"ops": "nonsense://s3cr3t"}).send("ops", [NOTICE])
    assert outcome.error == "this is no address that can be sent to"


ATTACKS = {
    "connect to an address": "import socket; socket.create_connection(('127.0.0.1', {port}))",
    "connect to a name past the resolver": "import socket; socket.socket().connect(('localhost', {port}))",
    "connect without Python's socket": "import _socket; _socket.socket(2, 1).connect(('127.0.0.1', {port}))",
    "resolve without Python's socket": "import _socket; s = _socket.socket(2, 1); "
    "s.connect(_socket.getaddrinfo('localhost', {port}, 2, 1)[0][4])",
    "send by UDP": "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))",
    "talk to a local socket": "import socket; socket.socket(1, 1).connect('/run/docker.sock')",
    "run a program": "import subprocess; subprocess.run(['true'])",
    "run a shell": "import os; os.system('true')",
    "metadata by its name": "import socket; socket.socket().connect(('169.254.169.254', 80))",
    "an address in disguise": "import socket; socket.socket(10, 1).connect(('::ffff:127.0.0.1', {port}))",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_nothing_gets_past_the_border(attack: str) -> None:
    async with receiving(Receiver()) as receiver:
        said = await _beyond_the_border(ATTACKS[attack].format(port=receiver.port))
    assert "PermissionError" in said, said
    assert receiver.got == []


async def _beyond_the_border(code: str) -> str:
    begin = (
        f"import sys; sys.path.insert(0, {str(CHILD.parent)!r}); from child import Border; "
        "from handrail.egress.policy import rules_of; Border(rules_of('')).close(); "
    )
    process = await asyncio.create_subprocess_exec(
        *_isolated(begin + code), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return out.decode()


def _isolated(code: str) -> Sequence[str]:
    return sys.executable, "-I", "-c", code


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("slack://TokenA/TokenB/TokenC/#ops", "could not post to TokenA at TokenB/TokenC"),
        ("mailto://ana:pa55word@mail.example.com", "login of ana:pa55word failed"),
        ("json://h.example.com/x?key=abcd1234", "GET http://h.example.com/x?key=abcd1234 failed"),
        ("mailto://ana:p%40ss+word@mail.example.com", "login of 'ana' with 'p@ss+word' or 'p@ss word' failed"),
    ],
)
def test_no_part_of_an_address_is_in_an_error(url: str, text: str) -> None:
    said = without(text, url)
    assert not any(part in said for part in ("TokenA", "TokenB", "TokenC", "pa55word", "abcd1234", "p@ss"))
