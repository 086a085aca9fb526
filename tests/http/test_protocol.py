"""What one round of the loop writes leaves in one piece, and nothing is lost at the end."""

import asyncio

from handrail.http.protocol import JoinedWrites


class _Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.sent.append(b"closed")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.sent.append(b"upgraded")


class TestJoinedWrites:
    async def test_leave_together_at_the_end_of_the_round(self) -> None:
        wire = _Wire()
        joined = JoinedWrites(wire, asyncio.get_running_loop())

        joined.write(b"a")
        joined.write(b"b")
        before = list(wire.sent)
        await asyncio.sleep(0)
        joined.write(b"c")
        await asyncio.sleep(0)

        assert (before, wire.sent) == ([], [b"ab", b"c"])

    async def test_leave_before_the_connection_closes_or_changes_hands(self) -> None:
        wire = _Wire()
        joined = JoinedWrites(wire, asyncio.get_running_loop())

        joined.write(b"a")
        joined.set_protocol(asyncio.Protocol())
        joined.write(b"b")
        joined.close()
        await asyncio.sleep(0)

        assert wire.sent == [b"a", b"upgraded", b"b", b"closed"]
