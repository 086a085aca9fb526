"""A provider's server may send anything: an answer comes of it or a model error, never anything else."""

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.models import ModelAnswer, ModelError
from handrail.serving.models.chat_answer import MAX_NAME_CHARACTERS, AnswerReader
from handrail.serving.models.connection import BrokenConnection, Connection
from handrail.serving.models.failures import MAX_RETRY_AFTER_SECONDS, Failures
from tests.declared import only

FAILURES = Failures("model 'm' at here", api_key="hunter2hunter2")
KEYS = st.sampled_from(
    [
        "model", "usage", "choices", "delta", "message", "content", "refusal", "reasoning_content", "reasoning",
        "tool_calls", "index", "id", "function", "name", "arguments", "finish_reason", "error", "object", "code",
        "status", "type", "text", "prompt_tokens", "prompt_tokens_details",
    ]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)
CHUNKS = VALUES | st.builds(
    lambda model, delta, finish, usage: {
        "model": model, "choices": [{"delta": delta, "finish_reason": finish}], "usage": usage
    },
    VALUES, st.dictionaries(KEYS, VALUES, max_size=5), VALUES, VALUES,
)  # fmt: skip
DEEP = "[" * 1_020 + "]" * 1_020
PLACES = [
    '{"model":%s}',
    '{"choices":[{"finish_reason":%s}]}',
    '{"choices":[{"delta":{"content":%s}}]}',
    '{"choices":[{"delta":{"tool_calls":[{"id":%s}]}}]}',
    '{"choices":[{"delta":{"tool_calls":[{"function":{"name":"a","arguments":%s}}]}}]}',
    '{"error":%s}',
    '{"error":{"code":%s}}',
    '{"usage":%s,"choices":[{"finish_reason":"stop"}]}',
]


def read(pieces: list[bytes]) -> ModelAnswer | None:
    reader = AnswerReader(FAILURES, "m", "p", keep_reasoning=True)
    with only(ModelError, shorter_than=400):
        for piece in pieces:
            reader.feed(piece)
            assert isinstance(reader.take_text(), str)
            assert isinstance(reader.take_reasoning(), str)
        reader.close()
        reader.take_text()
        return reader.answer()
    return None


def event(chunk: bytes) -> bytes:
    return b"data: " + chunk + b"\n\n"


class TestAnswerReader:
    @given(st.lists(st.binary(max_size=40) | CHUNKS.map(orjson.dumps).map(event), max_size=5))
    def test_any_stream_is_an_answer_or_a_model_error(self, pieces: list[bytes]) -> None:
        read(pieces)

    @given(CHUNKS.map(orjson.dumps) | st.binary(max_size=40).map(lambda rest: b"{" + rest))
    def test_any_body_is_an_answer_or_a_model_error(self, body: bytes) -> None:
        read([body])

    @pytest.mark.parametrize("place", PLACES)
    def test_values_nested_to_the_bottom_and_endless_numbers_are_harmless(self, place: str) -> None:
        for value in (DEEP, "9" * 5_000):
            read([event((place % value).encode())])
            assert isinstance(FAILURES.of_status(500, {}, (place % value).encode()), ModelError)

    def test_a_model_s_name_is_bounded(self) -> None:
        answer = read([event(orjson.dumps({"model": "m" * 100_000, "choices": [{"finish_reason": "stop"}]}))])
        assert isinstance(answer, ModelAnswer)
        assert len(answer.model) == MAX_NAME_CHARACTERS


class TestFailures:
    @given(
        st.integers(100, 599),
        st.dictionaries(
            st.sampled_from(["retry-after", "retry-after-ms"]),
            st.text(max_size=40)
            | st.sampled_from(
                ["Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT", "1 Jan 0001 00:00:00 +9999"]
            ),
        ),
        st.binary(max_size=40) | VALUES.map(orjson.dumps),
    )
    def test_any_refusal_is_a_short_model_error(self, status: int, headers: dict[str, str], body: bytes) -> None:
        error = FAILURES.of_status(status, headers, body)
        assert len(str(error)) < 600
        assert error.retry_after_seconds is None or 0 <= error.retry_after_seconds <= MAX_RETRY_AFTER_SECONDS


class _Closed(asyncio.Transport):
    """Takes what is written and is there until it is told to go."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def abort(self) -> None:
        self.gone = True

    def is_closing(self) -> bool:
        return self.gone

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 999\r\n", b"HTTP/9.9 x\r\n", b"content-length: 3\r\n", b"\r\n",
        b"content-length: -1\r\n", b"transfer-encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n",
        b"connection: upgrade\r\nupgrade: x\r\n",
        b"ffffffffffffffffff\r\n", b"x: \xff\0\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"LONG: b\r\n",
    ]
)  # fmt: skip


class TestConnection:
    @given(st.lists(LINES | st.binary(max_size=40), min_size=1, max_size=8))
    def test_any_bytes_are_an_answer_or_a_broken_connection(self, received: list[bytes]) -> None:
        async def ask() -> None:
            connection = Connection()
            connection.connection_made(_Closed())
            asking = asyncio.ensure_future(
                connection.ask(b"POST / HTTP/1.1\r\n\r\n", first_byte_seconds=5, silence_seconds=5, seconds=5)
            )
            await asyncio.sleep(0)
            for piece in received:
                connection.data_received(piece.replace(b"LONG", b"a" * 70_000))
            connection.eof_received()
            connection.connection_lost(None)
            try:
                await asking
                while await connection.read():
                    pass
                assert connection.is_complete
            except BrokenConnection:
                pass
            connection.finish()

        asyncio.run(ask())
