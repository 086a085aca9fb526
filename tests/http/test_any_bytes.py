"""Frames and bytes that no client of ours would send: refused by name, and the server goes on."""

import asyncio
import json
import socket
from contextlib import suppress
from typing import Any

import websockets.sync.client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.http.api import Api

FEW = settings(
    max_examples=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FRAMES = (
    st.text(max_size=40)
    | st.binary(max_size=40)
    | VALUES.map(json.dumps)
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["turn.create", "turn.cancel", "resume"]) | VALUES},
        optional={
            "data": VALUES
            | st.fixed_dictionaries(
                {}, optional=dict.fromkeys(("message", "turn_id", "last_event_id", "idempotency_key"), VALUES)
            )
        },
    ).map(json.dumps)
)
REQUESTS = st.lists(
    st.sampled_from(
        [
            b"GET /healthz HTTP/1.1\r\n", b"POST /v1/conversations HTTP/1.1\r\n", b"host: 127.0.0.1\r\n", b"\r\n",
            b"content-length: 5\r\n", b"content-length: 5\r\ncontent-length: 6\r\n", b"content-length: -1\r\n",
            b"transfer-encoding: chunked\r\n", b"transfer-encoding: x\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"zz\r\n",
            b"connection: upgrade\r\nupgrade: websocket\r\n", b"expect: 100-continue\r\n", b"x: a\0b\r\n",
            b"PRI * HTTP/2.0\r\n",
            b"LONG", b"x: \xff\xfe\r\n", b"GET http://[::1 HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00",
        ]
    )
    | st.binary(max_size=40),
    min_size=1,
    max_size=8,
)  # fmt: skip


async def test_no_frame_ends_a_socket_or_the_server(live: Api):
    live.world.script("Fine.", repeats=True)
    conversation = await live.open()
    address = f"ws{str(live.client.base_url)[4:].rstrip('/')}/v1/conversations/{conversation}/ws"

    def press() -> None:
        with websockets.sync.client.connect(address) as client:

            @FEW
            @given(FRAMES)
            def sent(frame: str | bytes) -> None:
                client.send(frame)
                # A turn that was taken sends its events; everything else is answered by an error.
                answer = json.loads(client.recv(timeout=10))
                assert answer.keys() == {"id", "event", "data"}
                while answer["event"] not in ("error", "turn.completed", "turn.failed"):
                    answer = json.loads(client.recv(timeout=10))
                if answer["event"] == "error":
                    assert answer["data"]["error"]["code"] != "internal"
                    assert len(json.dumps(answer)) < 2_000

            sent()

    await asyncio.to_thread(press)
    await live.say(conversation, "hello")


async def test_no_bytes_end_the_server(live: Api):
    port = live.client.base_url.port
    assert port is not None

    @FEW
    @given(REQUESTS)
    def sent(pieces: list[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            answer = b""
            # The server may have hung up in the middle of what it was sent.
            with suppress(OSError):
                raw.sendall(b"".join(pieces).replace(b"LONG", b"a" * 70_000))
                raw.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while piece := raw.recv(65536):
                    answer += piece
        assert not answer or answer.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in answer.partition(b"\r\n")[0]

    await asyncio.to_thread(sent)
    assert (await live.get("/healthz")).status_code == 200
