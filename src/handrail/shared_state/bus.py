"""News between replicas: told without waiting, heard within milliseconds, and lost when nobody can hear.

Each piece of news has a topic; the last one under a `keep` is kept by the server for who comes later. What a replica
told itself it does not hear.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from handrail.shared_state.valkey import Client, Unreachable, Valkey

Listener = Callable[[Any], None]
Lost = Callable[[str], None]
MOST_UNSENT = 1_000
KEPT_SECONDS = 3_600
WAIT_SECONDS = 0.2


class Bus(Protocol):
    """How a replica tells the others."""

    def publish(self, topic: str, body: Any, *, keep: str | None = None) -> None:
        """Neither waits nor raises. `body` is JSON; with `keep`, who joins later hears the last one too."""
        ...

    def listen(self, topic: str, listener: Listener) -> None:
        """Call `listener` with the body of every piece of news of a topic."""
        ...


class Hub:
    """Replicas within one process, for tests; what they tell one another arrives at once."""

    def __init__(self) -> None:
        self.buses: list[LocalBus] = []
        self.kept: dict[tuple[str, str], tuple[LocalBus, Any]] = {}


class LocalBus:
    """The bus of a replica that shares a hub with others, or has nobody to tell."""

    def __init__(self, hub: Hub | None = None) -> None:
        self._hub = hub or Hub()
        self._hub.buses.append(self)
        self._listeners: dict[str, list[Listener]] = {}

    def publish(self, topic: str, body: Any, *, keep: str | None = None) -> None:
        if keep is not None:
            self._hub.kept[topic, keep] = (self, body)
        for bus in self._hub.buses:
            if bus is not self:
                bus.hear(topic, body)

    def listen(self, topic: str, listener: Listener) -> None:
        self._listeners.setdefault(topic, []).append(listener)
        for (of, _), (teller, body) in list(self._hub.kept.items()):
            if of == topic and teller is not self:
                listener(body)

    def hear(self, topic: str, body: Any) -> None:
        for listener in self._listeners.get(topic, ()):
            listener(body)


class ValkeyBus:
    """Over the server's publish and subscribe. Build it, `start` it, `close` it.

    Args:
        me: unique to this process.
        name: of the channel, and the beginning of the keys of what is kept.
        on_lost: told the topic of each piece of news that could not be told.
        on_connected: called whenever news is heard again: what was told meanwhile is missed.
    """

    def __init__(
        self,
        valkey: Valkey,
        me: str,
        *,
        name: str = "handrail:news",
        on_lost: Lost | None = None,
        on_connected: Callable[[], None] | None = None,
    ) -> None:
        self.is_listening = False
        self._valkey = valkey
        self._me = me
        self._name = name
        self._on_lost = on_lost
        self.on_connected = on_connected
        self._listeners: dict[str, list[Listener]] = {}
        self._unsent: deque[tuple[str, str, str | None]] = deque()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def publish(self, topic: str, body: Any, *, keep: str | None = None) -> None:
        if not self._valkey.is_up or len(self._unsent) >= MOST_UNSENT:
            self._lose(topic)
            return
        self._unsent.append((topic, json.dumps({"from": self._me, "topic": topic, "body": body}), keep))
        self._wake.set()

    def listen(self, topic: str, listener: Listener) -> None:
        self._listeners.setdefault(topic, []).append(listener)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._send()), loop.create_task(self._receive())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            news = list(self._unsent)
            self._unsent.clear()
            try:
                await self._valkey.ask(lambda client, news=news: self._told(client, news))
            except Unreachable:
                for topic, _, _ in news:
                    self._lose(topic)

    async def _told(self, client: Client, news: list[tuple[str, str, str | None]]) -> None:
        pipeline = client.pipeline(transaction=False)
        for topic, text, keep in news:
            pipeline.publish(self._name, text)
            if keep is not None:
                pipeline.hset(f"{self._name}:{topic}", keep, text)
                pipeline.expire(f"{self._name}:{topic}", KEPT_SECONDS)
        await pipeline.execute()

    async def _receive(self) -> None:
        while True:
            if self._valkey.is_up:
                with suppress(*self._valkey.failures):
                    await self._subscribed()
                self.is_listening = False
            await asyncio.sleep(WAIT_SECONDS)

    async def _subscribed(self) -> None:
        """Hear until the connection breaks."""
        async with self._valkey.client.pubsub() as subscription:
            await subscription.subscribe(self._name)
            for topic in self._listeners:
                for text in (await self._valkey.client.hgetall(f"{self._name}:{topic}")).values():
                    self._hear(text)
            self.is_listening = True
            if self.on_connected is not None:
                self.on_connected()
            while True:
                message = await subscription.get_message(ignore_subscribe_messages=True, timeout=1.0)
                if message is not None:
                    self._hear(message["data"])
                elif not self._valkey.is_up:
                    return

    def _hear(self, text: bytes) -> None:
        """What is not news of ours is passed over: the server may be shared."""
        try:
            news = json.loads(text)
            teller, topic, body = news["from"], news["topic"], news["body"]
        except (ValueError, TypeError, KeyError):
            return
        if teller != self._me:
            for listener in self._listeners.get(topic, ()):
                listener(body)

    def _lose(self, topic: str) -> None:
        if self._on_lost is not None:
            self._on_lost(topic)
