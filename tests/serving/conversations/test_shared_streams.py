"""Live events from one replica to another, over a real Valkey server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from handrail.core import events
from handrail.core.clock import FrozenClock
from handrail.core.events import Event
from handrail.db import Database
from handrail.protection.encryption import Encryption, Erasure, LocalMasterKeys
from handrail.serving.conversations import SharedStreams
from handrail.shared_state import Valkey
from tests.servers import ValkeyServer
from tests.shared_state.test_bus import soon

pytestmark = pytest.mark.valkey
ANA = ("default", "ana")


@pytest.fixture
async def pair(valkey_url: str) -> AsyncIterator[tuple[SharedStreams, SharedStreams]]:
    """The replica where a turn runs, and one that follows."""
    valkeys = [Valkey(valkey_url, timeout_seconds=5.0) for _ in range(2)]
    streams = [SharedStreams(each) for each in valkeys]
    for each in (*valkeys, *streams):
        await each.start()
    yield streams[0], streams[1]
    for each in (*streams, *valkeys):
        await each.close()


def event(seq: int, name: str = events.MESSAGE_DELTA, epoch: int = 1) -> Event:
    return Event(epoch, seq, name, {"text": f"{epoch}.{seq} "})


async def followed(streams: SharedStreams, after: tuple[int, int] | None = None) -> list[str]:
    seen: list[str] = []
    async with asyncio.timeout(20):
        async for batch in streams.follow("turn_1", after):
            seen += [each.id for each in batch or []]
    return seen


async def test_come_in_order_while_the_turn_runs_and_end_with_it(pair: tuple[SharedStreams, SharedStreams]):
    here, there = pair
    following = asyncio.create_task(followed(there))
    for seq in range(1, 30):
        here.tap(ANA, "turn_1", event(seq))
        await asyncio.sleep(0.005)
    here.tap(ANA, "turn_1", event(30, events.COMPLETED))
    assert await following == [f"1.{seq}" for seq in range(1, 31)]


async def test_go_on_after_the_last_one_a_client_has_seen(pair: tuple[SharedStreams, SharedStreams]):
    here, there = pair
    for seq in range(1, 10):
        here.tap(ANA, "turn_1", event(seq))
    here.tap(ANA, "turn_1", event(10, events.COMPLETED))
    assert await followed(there, (1, 7)) == ["1.8", "1.9", "1.10"]


async def test_of_a_turn_that_was_taken_over_go_on_in_the_next_epoch(pair: tuple[SharedStreams, SharedStreams]):
    here, there = pair
    here.tap(ANA, "turn_1", event(1))
    here.tap(ANA, "turn_1", event(2))
    here.tap(ANA, "turn_1", event(1, events.MESSAGE_RESTARTED, epoch=2))
    here.tap(ANA, "turn_1", event(2, events.COMPLETED, epoch=2))
    assert await followed(there, (1, 2)) == ["2.1", "2.2"]


async def test_with_a_gap_end_early_so_that_the_transcript_is_asked(pair: tuple[SharedStreams, SharedStreams]):
    here, there = pair
    for seq in (1, 2, 4):
        here.tap(ANA, "turn_1", event(seq))
    assert await followed(there) == []


async def test_of_users_with_a_key_are_sealed_and_gone_with_it(
    pair: tuple[SharedStreams, SharedStreams], sqlite_db: Database, tmp_path: Path, clock: FrozenClock, valkey_url: str
):
    encryption = Encryption(sqlite_db, tmp_path, LocalMasterKeys([b"m" * 32]), clock)
    await encryption.start()
    keys = encryption.require_keys()
    here, there = pair
    here.ciphers = there.ciphers = keys
    for seq in range(1, 4):
        here.tap(ANA, "turn_1", event(seq))
    here.tap(ANA, "turn_1", event(4, events.COMPLETED))
    assert await followed(there) == ["1.1", "1.2", "1.3", "1.4"]
    valkey = Valkey(valkey_url, timeout_seconds=5.0)
    await valkey.start()
    raw = str(await valkey.ask(lambda client: client.xrange("handrail:events:turn_1")))
    await valkey.close()
    assert "1.2" not in raw, "nothing of it can be read there"

    store = await encryption.store()
    await store.destroy(Erasure("default", store.owner_of("default", "ana"), clock.micros()))
    keys.forget()
    following = asyncio.create_task(followed(there))
    await asyncio.sleep(0.2)
    following.cancel()
    assert (await asyncio.gather(following, return_exceptions=True))[0] != ["1.1", "1.2", "1.3", "1.4"]
    await encryption.close()


async def test_say_when_there_is_nothing_for_a_while(pair: tuple[SharedStreams, SharedStreams]):
    _, there = pair
    async with asyncio.timeout(20):
        async for batch in there.follow("turn_nobody", None):
            assert batch is None
            break


async def test_without_the_server_are_counted_as_lost_and_nobody_waits(valkey_server: ValkeyServer):
    lost: list[int] = []
    valkey = Valkey(valkey_server.url)
    await valkey.start()
    streams = SharedStreams(valkey, on_lost=lost.append)
    await streams.start()
    valkey_server.kill()
    try:
        streams.tap(ANA, "turn_1", event(1))
        await soon(lambda: bool(lost))
        streams.tap(ANA, "turn_1", event(2))
        assert lost == [1, 1]
        assert await followed(streams) == []
    finally:
        await streams.close()
        await valkey.close()
        valkey_server.start_if_gone()
