"""The API as its clients use it: one in this process for most tests, one behind a real socket for streams."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import uvicorn

from handrail.core.principal import Role
from handrail.http.app import create_app
from handrail.http.connections import Door
from handrail.http.edge import Edge
from handrail.http.followers import MOST_A_PRINCIPAL, MOST_A_TENANT
from handrail.http.guard import MOST_OPEN
from handrail.http.protocol import Protocol
from tests.flows.world import World
from tests.http.documented import DocumentedClient

PORT = 8080
ORIGIN = f"http://127.0.0.1:{PORT}"


@dataclass(frozen=True)
class Sent:
    """One event as it came over the wire."""

    id: str
    name: str
    data: Any


@dataclass
class Api:
    """A client without a key, unless `key` is given to a call."""

    client: httpx2.AsyncClient
    world: World

    async def get(self, path: str, *, key: str | None = None, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers=_headers(key, headers))

    async def post(self, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> httpx2.Response:
        given = _headers(key, headers)
        if body is None:
            return await self.client.post(path, headers=given)
        return await self.client.post(path, json=body, headers=given)

    async def open(self, key: str | None = None) -> str:
        """A new conversation's id."""
        answer = await self.post("/v1/conversations", {}, key=key)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def say(self, conversation: str, message: str, *, key: str | None = None, **headers: str) -> Any:
        """The body of a turn that must have been taken."""
        answer = await self.post(f"/v1/conversations/{conversation}/turns", {"message": message}, key=key, **headers)
        assert answer.status_code == 200, answer.text
        await self.world.settle(answer.json()["id"])
        return answer.json()

    async def stream(self, conversation: str, message: str) -> list[Sent]:
        """A turn's events, once all of them are there."""
        answer = await self.post(
            f"/v1/conversations/{conversation}/turns", {"message": message}, accept="text/event-stream"
        )
        assert answer.status_code == 200, answer.text
        return list(parsed(answer.text))

    async def events(self, turn_id: str, after: str | None = None) -> list[Sent]:
        headers = {} if after is None else {"last_event_id": after}
        answer = await self.get(f"/v1/turns/{turn_id}/events", **headers)
        assert answer.status_code == 200, answer.text
        return list(parsed(answer.text))

    def socket_url(self, conversation: str) -> str:
        base = str(self.client.base_url).rstrip("/").replace("http://", "ws://")
        return f"{base}/v1/conversations/{conversation}/ws"

    async def key(self, subject: str = "ana", tenant: str = "default", role: Role = Role.END_USER) -> str:
        """The text of a new key; from the first one on the server asks everybody for theirs."""
        services = self.world.services
        created = await services.keys.create(
            tenant_id=tenant, subject=subject, role=role, at=services.clock.micros(), scopes=[]
        )
        services.authenticator.forget()
        return created.text


def _headers(key: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """Header names as keyword arguments."""
    headers = {name.replace("_", "-"): value for name, value in given.items()}
    return headers | {"authorization": f"Bearer {key}"} if key else headers


def parsed(text: str) -> Iterator[Sent]:
    """Events out of the text of a stream; pings are no events."""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            yield Sent(fields["id"], fields["event"], json.loads(fields["data"]))


def shown(seen: list[Sent]) -> str:
    """The text a client shows after these events."""
    text = ""
    for event in seen:
        if event.name == "message.restarted":
            text = event.data["text"]
        elif event.name == "message.delta":
            text += event.data["text"]
    return text


@asynccontextmanager
async def api_over(world: World, *, edge: Edge | None = None, client: str = "127.0.0.1") -> AsyncIterator[Api]:
    app = create_app(world.services, port=PORT, edge=edge)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False, client=(client, 123))
    async with DocumentedClient(transport=transport, base_url=ORIGIN) as client:
        yield Api(client, world)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The test process keeps its own."""
        yield


@asynccontextmanager
async def served(
    world: World,
    *,
    most_open: int = MOST_OPEN,
    most_followers: int = MOST_A_TENANT,
    most_streams: int = MOST_A_PRINCIPAL,
    door: Door | None = None,
) -> AsyncIterator[Api]:
    """The same application behind a socket of 127.0.0.1, with the server `handrail serve` uses."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        create_app(
            world.services, port=port, most_open=most_open, most_followers=most_followers, most_streams=most_streams
        ),
        http=partial(Protocol, door=Door() if door is None else door),  # pyright: ignore[reportArgumentType] - called like a class
        ws="websockets-sansio",
        lifespan="off",
        access_log=False,
        proxy_headers=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with DocumentedClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield Api(client, world)
    finally:
        server.should_exit = True
        await task
        listener.close()
