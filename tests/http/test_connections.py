"""Who may keep a connection, and what a client is told that sends too much or too slowly."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from handrail.core.addresses import networks_of
from handrail.http.client_address import Proxies
from handrail.http.connections import SWEEP_SECONDS, ConnectionLimits, Door
from handrail.http.protocol import MOST_HEAD_BYTES, MOST_HEADERS, MOST_PIPELINED
from handrail.serving.models import Reply
from tests.flows.world import World
from tests.http.api import Api, served

PATIENCE = SWEEP_SECONDS * 2 + 3.0


@dataclass(eq=False)
class Guest:
    """A connection as the door sees it."""

    peer: str = "203.0.113.9"
    since: float | None = 0.0
    seconds: float | None = None
    is_gone: bool = False

    def waits_since(self) -> float | None:
        return self.since

    def patience_seconds(self, limits: ConnectionLimits) -> float | None:
        return self.seconds

    def give_up(self) -> None:
        self.is_gone = True


class TestDoor:
    async def test_an_address_has_so_many_and_others_have_theirs(self):
        door = Door(ConnectionLimits(per_address=2))
        first, second = Guest(), Guest()
        assert door.admit(first)
        assert door.admit(second)
        assert not door.admit(Guest())
        assert door.admit(Guest("203.0.113.10"))
        door.leave(first)
        assert door.admit(Guest())

    async def test_one_network_of_ipv6_counts_as_one_address(self):
        door = Door(ConnectionLimits(per_address=2))
        assert all(door.admit(Guest(f"2001:db8::{number}")) for number in (1, 2))
        assert not door.admit(Guest("2001:db8::3%eth0"))
        assert door.admit(Guest("2001:db8:0:1::1"))
        assert all(door.admit(Guest(peer)) for peer in ("::ffff:203.0.113.9", "203.0.113.9"))
        assert not door.admit(Guest("203.0.113.9"))

    async def test_this_machine_and_declared_proxies_are_not_counted_by_address(self):
        door = Door(ConnectionLimits(per_address=1), Proxies(networks_of("10.0.0.0/8")))
        for peer in ("127.0.0.1", "::1", "10.0.0.7"):
            assert all(door.admit(Guest(peer)) for _ in range(3)), peer

    async def test_who_keeps_the_server_waiting_longest_makes_room(self):
        door = Door(ConnectionLimits(most=3))
        busy, late, early = Guest(since=None), Guest(since=7.0), Guest(since=5.0)
        for each in (busy, late, early):
            assert door.admit(each)
        assert door.admit(Guest(since=9.0))
        assert (busy.is_gone, late.is_gone, early.is_gone) == (False, False, True)

    async def test_nobody_who_is_being_answered_makes_room(self):
        door = Door(ConnectionLimits(most=2))
        guests = [Guest(since=None), Guest(since=None)]
        assert all(door.admit(each) for each in guests)
        assert not door.admit(Guest())
        assert not any(each.is_gone for each in guests)

    async def test_leaving_twice_or_unadmitted_counts_once(self):
        door = Door(ConnectionLimits(per_address=1))
        guest = Guest()
        door.leave(guest)
        assert door.admit(guest)
        door.leave(guest)
        door.leave(guest)
        assert len(door) == 0
        assert door.admit(Guest())
        assert not door.admit(Guest())


@asynccontextmanager
async def raw(api: Api) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    base = urlsplit(str(api.client.base_url))
    reader, writer = await asyncio.open_connection(base.hostname, base.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The status and error code of an answer after which the server closes."""
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-content-type-options: nosniff" in head
    return int(head.split()[1]), json.loads(body)["error"]["code"]


class TestHeads:
    async def test_are_bounded_in_bytes_headers_and_address(self, live: Api):
        many = b"".join(b"a%d: b\r\n" % each for each in range(MOST_HEADERS + 1))
        for head in (
            b"GET /healthz HTTP/1.1\r\nhost: a\r\na: " + b"b" * MOST_HEAD_BYTES + b"\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\n" + many + b"\r\n",
            b"GET /" + b"a" * MOST_HEAD_BYTES + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        ):
            async with raw(live) as (reader, writer):
                writer.write(head)
                assert await said(reader) == (431, "head_too_large")

    async def test_that_never_end_are_cut_off_while_they_come(self, live: Api):
        async with raw(live) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.1\r\n")
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 1000 and not reader.at_eof():
                    writer.write(b"a%d: %s\r\n" % (sent, b"b" * 1000))
                    await writer.drain()
                    await asyncio.sleep(0)
                    sent += 1
            assert sent < 900

    async def test_of_usual_size_pass_with_a_large_body_in_one_piece(self, live: Api):
        conversation = await live.open()
        answer = await live.post(f"/v1/conversations/{conversation}/turns", {"message": "x" * 200_000})
        assert answer.json()["error"]["code"] == "invalid_message"

    async def test_that_are_no_http_are_told_so(self, live: Api):
        async with raw(live) as (reader, writer):
            writer.write(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
            assert await said(reader) == (400, "invalid_request")


class TestSlowClients:
    async def test_are_told_and_cut_off(self, world: World):
        door = Door(ConnectionLimits(head_seconds=0.2, body_seconds=0.2))
        async with served(world, door=door) as live:
            async with raw(live) as (reader, writer):
                writer.write(b"GET /healthz HTTP/1.1\r\nhost:")
                assert await said(reader) == (408, "request_timeout")
            async with raw(live) as (reader, writer):
                writer.write(
                    b"POST /v1/conversations HTTP/1.1\r\nhost: " + live.client.base_url.netloc
                    + b"\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{"
                )  # fmt: skip
                assert await said(reader) == (408, "request_timeout")
            async with raw(live) as (reader, writer):
                async with asyncio.timeout(PATIENCE):
                    assert await reader.read() == b""
            assert (await live.get("/v1/conversations")).status_code == 200

    async def test_who_had_an_answer_and_begins_anew_is_cut_off_too(self, world: World):
        door = Door(ConnectionLimits(head_seconds=0.2, body_seconds=0.2))
        async with served(world, door=door) as live, raw(live) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: " + live.client.base_url.netloc + b"\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            # Not even the first letter of a method: the parser does not call this a message yet.
            writer.write(b"\r\n")
            async with asyncio.timeout(PATIENCE):
                await reader.read()
            assert len(door) == 0

    async def test_a_stream_may_last_as_long_as_it_takes(self, world: World):
        door = Door(ConnectionLimits(head_seconds=0.1, body_seconds=0.1))
        async with served(world, door=door) as live:
            conversation = await live.open()
            world.script(Reply(text="one two", piece=4, gap_seconds=2.5))
            assert (await live.say(conversation, "count"))["status"] == "completed"


class TestAFlood:
    async def test_of_one_address_leaves_room_for_others(self, world: World):
        door = Door(ConnectionLimits(most=8))
        async with served(world, door=door) as live:
            base = urlsplit(str(live.client.base_url))
            opened = [await asyncio.open_connection(base.hostname, base.port) for _ in range(30)]
            assert (await live.get("/v1/conversations")).status_code == 200
            assert len(door) <= 8
            for _, writer in opened:
                writer.close()

    async def test_of_requests_on_one_connection_ends_with_it(self, live: Api):
        async with raw(live) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n" * (MOST_PIPELINED + 2))
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE):
                    await reader.read()
        assert (await live.get("/v1/conversations")).status_code == 200

    async def test_of_large_bodies_is_read_a_few_at_a_time_and_all_are_answered(self, live: Api):
        body = {"message": "x" * 200_000}
        conversations = [await live.open() for _ in range(3)]
        answers = await asyncio.gather(
            *(live.post(f"/v1/conversations/{each}/turns", body) for each in conversations for _ in range(10))
        )
        assert {answer.json()["error"]["code"] for answer in answers} <= {"invalid_message", "rate_limited"}
