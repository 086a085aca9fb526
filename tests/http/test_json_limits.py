"""A body is looked at before it is built: neither deep nor wide ones reach a parser."""

import json
from typing import Any

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from handrail.http.json_limits import MOST_DEPTH, MOST_PARTS, is_bounded
from tests.http.api import Api

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


class TestIsBounded:
    def test_counts_depth_to_the_last_level(self):
        assert is_bounded(nested(MOST_DEPTH))
        assert not is_bounded(nested(MOST_DEPTH + 1))
        assert not is_bounded(b'{"a":' * (MOST_DEPTH + 1) + b"1" + b"}" * (MOST_DEPTH + 1))

    def test_does_not_take_brackets_in_text_for_depth(self):
        assert is_bounded(json.dumps({"message": "[{" * 1000}).encode())
        assert is_bounded(json.dumps({"message": '"[{\\' * 1000}).encode())

    def test_lets_long_texts_pass_and_not_many_values(self):
        assert is_bounded(json.dumps({"message": "a, b: c, " * 100_000}).encode())
        assert is_bounded(json.dumps([{"role": "user", "content": "hi"}] * 4000).encode())
        assert not is_bounded(b"[" + b"1," * (MOST_PARTS + 1) + b"1]")
        assert not is_bounded(b"[" + b"{}," * (MOST_PARTS + 1) + b"{}]")

    @pytest.mark.parametrize("text", [b"[" * 1_000_000, b"[]" * 500_000, b'""' * 500_000])
    def test_stops_early_whatever_it_is_given(self, text: bytes):
        assert not is_bounded(text)

    @given(VALUES)
    def test_whatever_people_send_is(self, value: Any):
        assert is_bounded(json.dumps(value).encode())
        assert is_bounded(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass"))

    @given(st.binary(max_size=300))
    def test_any_bytes_have_an_answer(self, text: bytes):
        assert is_bounded(text) in (True, False)


class TestBodies:
    async def test_that_are_too_deep_or_wide_are_refused(self, api: Api):
        conversation = await api.open()
        deep = b'{"message":' + nested(5000) + b"}"
        wide = b'{"message":"hi",' + b",".join(b'"k%d":1' % each for each in range(60_000)) + b"}"
        for path in (f"/v1/conversations/{conversation}/turns", "/v1/chat/completions", "/v1/conversations"):
            for content in (deep, wide):
                answer = await api.client.post(path, content=content, headers={"content-type": "application/json"})
                assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_body"), path
                assert "50000" in answer.json()["error"]["message"]

    async def test_of_frames_too(self, live: Api):
        conversation = await live.open()
        async with websockets.connect(live.socket_url(conversation)) as socket:
            await socket.send('{"type":"resume","data":{"a":' + nested(5000).decode() + "}}")
            assert json.loads(await socket.recv())["data"]["error"]["code"] == "invalid_body"
