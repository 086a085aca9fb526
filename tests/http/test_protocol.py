"""A head leaves with what follows it at once, and nothing is lost or out of order at the end."""

import asyncio

from handrail.http.protocol import HEAD, JoinedHeads


class _Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return b"closed" in self.sent

    def close(self) -> None:
        self.sent.append(b"closed")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.sent.append(b"upgraded")


class TestJoinedHeads:
    async def test_leave_with_the_piece_that_follows_at_once(self) -> None:
        wire = _Wire()
        joined = JoinedHeads(wire, asyncio.get_running_loop())

        joined.write(HEAD + b"200 OK")
        before = list(wire.sent)
        joined.write(b"a")
        joined.write(b"b")
        await asyncio.sleep(0)

        assert (before, wire.sent) == ([], [HEAD + b"200 OKa", b"b"])

    async def test_leave_alone_at_the_end_of_the_round(self) -> None:
        wire = _Wire()
        joined = JoinedHeads(wire, asyncio.get_running_loop())

        joined.write(HEAD + b"200 OK")
        await asyncio.sleep(0)
        joined.write(b"a")

        assert wire.sent == [HEAD + b"200 OK", b"a"]

    async def test_leave_before_the_connection_closes_or_changes_hands(self) -> None:
        wire = _Wire()
        joined = JoinedHeads(wire, asyncio.get_running_loop())

        joined.write(HEAD + b"101")
        joined.set_protocol(asyncio.Protocol())
        joined.write(HEAD + b"400")
        joined.close()
        await asyncio.sleep(0)

        assert wire.sent == [HEAD + b"101", b"upgraded", HEAD + b"400", b"closed"]
