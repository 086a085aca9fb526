"""A server that may be gone at any moment, asked by turns that may not wait for it."""

import asyncio
import signal

import pytest

from handrail.shared_state import Unreachable, Valkey
from tests.servers import ValkeyServer, free_port
from tests.shared_state.test_bus import soon

pytestmark = pytest.mark.valkey


async def test_a_server_that_was_never_there_is_unreachable_at_once():
    told: list[bool] = []
    valkey = Valkey(f"redis://127.0.0.1:{free_port()}", on_change=told.append)
    await valkey.start()
    try:
        assert not valkey.is_up
        with pytest.raises(Unreachable):
            await valkey.ask(lambda client: client.ping())
        assert told == []
    finally:
        await valkey.close()


async def test_it_is_used_again_by_itself_when_it_is_back(valkey_server: ValkeyServer):
    told: list[bool] = []
    valkey = Valkey(valkey_server.url, on_change=told.append, look_seconds=0.05)
    await valkey.start()
    try:
        assert await valkey.ask(lambda client: client.ping())
        valkey_server.kill()
        with pytest.raises(Unreachable):
            await valkey.ask(lambda client: client.ping())
        assert not valkey.is_up
        valkey_server.start()
        await soon(lambda: valkey.is_up)
        assert await valkey.ask(lambda client: client.ping())
        assert told == [True, False, True]
    finally:
        await valkey.close()
        valkey_server.start_if_gone()


async def test_a_server_that_hangs_costs_one_time_out_and_not_one_a_turn(valkey_server: ValkeyServer):
    valkey = Valkey(valkey_server.url, timeout_seconds=0.2, look_seconds=30)
    await valkey.start()
    valkey_server.send(signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable):
            await valkey.ask(lambda client: client.ping())
        # Everybody after the first is sent on without a look at the clock: the coroutine never waits.
        asking = valkey.ask(lambda client: client.ping())
        with pytest.raises(Unreachable):
            asking.send(None)
    finally:
        valkey_server.send(signal.SIGCONT)
        await valkey.close()


async def test_a_turn_that_is_cancelled_while_it_asks_leaves_the_next_one_its_own_answer(valkey_url: str):
    valkey = Valkey(valkey_url, timeout_seconds=2.0)
    await valkey.start()
    try:
        slow = asyncio.create_task(valkey.ask(lambda client: client.blpop("nothing", timeout=1)))
        await asyncio.sleep(0.05)
        slow.cancel()
        await asyncio.wait([slow])
        await valkey.ask(lambda client: client.set("mine", "1"))
        for _ in range(5):
            assert await valkey.ask(lambda client: client.get("mine")) == b"1"
        assert valkey.is_up
    finally:
        await valkey.close()
