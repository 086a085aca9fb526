"""Clients that never give up: they send again under the same key, follow again from the last event, decide again."""

import asyncio
import itertools
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

ENDS = {"turn.completed", "turn.failed", "turn.cancelled", "turn.requires_action"}
PATIENCE = 120.0
_LOST = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)


@dataclass
class Heard:
    """One turn as its client saw it."""

    conversation: str
    plan: dict[str, Any]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    turn_id: str | None = None
    last_event: str | None = None
    text: str = ""
    ended: str | None = None
    body: dict[str, Any] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    began: float = field(default_factory=time.monotonic)


class Wedged(AssertionError):
    """A client waited for longer than anything may take."""


class Crowd:
    """`addresses` are the servers that are up now; clients go to any of them."""

    def __init__(self, addresses: Callable[[], Sequence[str]], token: Callable[[], str], rng: random.Random) -> None:
        self.heard: list[Heard] = []
        self.stopping = False
        self._open: list[Heard] = []
        self._addresses = addresses
        self._token = token
        self._rng = rng
        self._numbers = itertools.count()
        connector = aiohttp.TCPConnector(limit=0)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_read=5))

    @property
    def in_flight(self) -> int:
        """How many conversations have a turn that a server took and nobody has heard the end of."""
        return len({each.conversation for each in self._open if each.turn_id is not None})

    @property
    def longest_wait(self) -> float:
        """For how many seconds the client that has waited longest has heard no end."""
        return time.monotonic() - min((each.began for each in self._open), default=time.monotonic())

    async def close(self) -> None:
        await self._http.close()

    async def talk(self) -> str:
        """One conversation, a turn after the other until `stopping`; some are sent while the one before runs."""
        conversation = (await self._json("POST", "/v1/conversations", {}))["id"]
        while not self.stopping:
            waiting = self._rng.choice((0, 0, 0, 1, 2))
            async with asyncio.TaskGroup() as group:
                for number in range(waiting + 1):
                    group.create_task(self.turn(conversation, plan(self._rng)))
                    if number < waiting:
                        await asyncio.sleep(self._rng.uniform(0.01, 0.1))
        return conversation

    async def turn(self, conversation: str, wanted: dict[str, Any]) -> Heard:
        """Send a message and stay until it has ended for good."""
        heard = Heard(conversation, wanted)
        self.heard.append(heard)
        self._open.append(heard)
        try:
            async with asyncio.timeout(PATIENCE):
                while heard.ended is None:
                    await self._connect(heard)
        except TimeoutError as error:
            raise Wedged(f"no end of {heard} within {PATIENCE} s") from error
        finally:
            self._open.remove(heard)
        return heard

    async def _connect(self, heard: Heard) -> None:
        """One connection: until the turn's end, or until it breaks."""
        heard.connections += 1
        try:
            if heard.turn_id is None:
                path = f"/v1/conversations/{heard.conversation}/turns"
                headers = {"idempotency-key": heard.key, "accept": "text/event-stream"}
                request = self._http.post(
                    self._somewhere(path), json={"message": json.dumps(heard.plan)}, headers=headers
                )
            else:
                headers = {"last-event-id": heard.last_event} if heard.last_event else {}
                request = self._http.get(self._somewhere(f"/v1/turns/{heard.turn_id}/events"), headers=headers)
            async with request as response:
                if response.status != 200:
                    await self._refused(response)
                else:
                    heard.turn_id = response.headers.get("x-handrail-turn-id", heard.turn_id)
                    await self._follow(heard, response)
        except _LOST:
            await asyncio.sleep(0.05)

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        body = await response.text()
        assert response.status in (409, 429, 503), f"{response.status}: {body}"
        await asyncio.sleep(0.1)

    async def _follow(self, heard: Heard, response: aiohttp.ClientResponse) -> None:
        async for identity, name, data in _events(response):
            heard.last_event = identity
            if name == "message.restarted":
                heard.text = data["text"]
            elif name == "message.delta":
                heard.text += data["text"]
            elif name == "tool.completed":
                if data["status"] == "completed":
                    heard.done[data["id"]] = data["name"]
            elif name == "turn.requires_action":
                await self._decide(heard, data["approvals"])
            elif name in ENDS:
                heard.ended, heard.body = name, data
                return

    async def _decide(self, heard: Heard, approvals: Sequence[str]) -> None:
        """As the people do who are asked; anything may die meanwhile."""
        await asyncio.sleep(self._rng.uniform(0.0, 0.2))
        word = "approve" if self._rng.random() < 0.7 else "reject"
        for approval in approvals:
            seen = await self._json("GET", f"/v1/approvals/{approval}")
            if seen["status"] == "pending":
                ballot = {"decision": word, "fingerprint": seen["fingerprint"], "reason": "the dice say so"}
                await self._json("POST", f"/v1/approvals/{approval}/decision", ballot, also=(409,))

    async def _json(self, method: str, path: str, body: Any = None, also: Sequence[int] = ()) -> Any:
        """Ask until somebody answers."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    headers = {"authorization": f"Bearer {self._token()}"} if "/approvals" in path else {}
                    async with self._http.request(method, self._somewhere(path), json=body, headers=headers) as answer:
                        if answer.status < 300 or answer.status in also:
                            return await answer.json()
                        await self._refused(answer)
                except _LOST:
                    await asyncio.sleep(0.05)

    async def transcript(self, conversation: str) -> list[dict[str, Any]]:
        return (await self._json("GET", f"/v1/conversations/{conversation}"))["messages"]

    def _somewhere(self, path: str) -> str:
        addresses = self._addresses()
        if not addresses:
            raise ConnectionRefusedError("all servers are down")
        return self._rng.choice(addresses) + path


def plan(rng: random.Random) -> dict[str, Any]:
    """What a turn does: rounds of tools, reads and writes of every kind, and then some words."""
    rounds = [
        [_call(rng, rng.choice(("look", "look", "put", "pay", "mail"))) for _ in range(rng.randint(1, 2))]
        for _ in range(rng.randint(0, 2))
    ]
    if rng.random() < 0.2:
        rounds.append([_call(rng, "ship"), *([_call(rng, "look")] if rng.random() < 0.5 else [])])
    number = rng.randrange(10**6)
    words = " ".join(f"word{number}.{each}" for each in range(rng.randint(3, 12)))
    return {"rounds": rounds, "answer": words, "gap": rng.randint(5, 40)}


def _call(rng: random.Random, name: str) -> list[Any]:
    """Work from a tenth of a second to 1.2 seconds, more often short than long, and the effect somewhere inside."""
    before, after = (round(50 + 550 * rng.random() ** 2) for _ in range(2))
    return [name, {"before": before, "after": after}]


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, Any]]:
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}
