"""Every error has the one shape, whatever a client sends."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from handrail.db import StoreUnavailable
from handrail.http.guard import MOST_BODY_BYTES
from tests.http.api import Api

JSON = {"content-type": "application/json"}
TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 409: "invalid_request_error", 413: "invalid_request_error",
    415: "invalid_request_error", 422: "invalid_request_error", 429: "rate_limit_error", 500: "api_error",
    503: "api_error",
}  # fmt: skip


def require_shape(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The error of an answer that must have the one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"error"}
    error = body["error"]
    assert error.keys() == {"type", "code", "message", "param", "trace_id"}
    assert error["type"] == TYPES[status]
    assert len(error["trace_id"]) == 32
    assert error["message"]
    assert code is None or error["code"] == code
    return error


class TestShape:
    @pytest.mark.parametrize("path", ["/nothing", "/v1/conversations/conv_1", "/v1/turns/turn_1/events", "/v1/"])
    async def test_of_what_is_not_there(self, api: Api, path: str):
        require_shape(await api.get(path), 404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path"), [("PUT", "/v1/conversations"), ("GET", "/v1/chat/completions"), ("DELETE", "/healthz")]
    )
    async def test_of_a_method_that_is_not_there(self, api: Api, method: str, path: str):
        answer = await api.client.request(method, path)
        require_shape(answer, 405, "method_not_allowed")
        assert answer.headers["allow"]

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
    async def test_of_a_body_that_is_not_declared_as_json(self, api: Api, kind: str):
        conversation = await api.open()
        for path in (f"/v1/conversations/{conversation}/turns", "/v1/conversations", "/v1/chat/completions"):
            answer = await api.client.post(path, content=b'{"message":"hi"}', headers={"content-type": kind})
            require_shape(answer, 415, "unsupported_media_type")
        assert api.world.model.requests == []

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            (b"", "message"), (b"{}", "message"), (b'{"message":5}', "message"), (b'{"message":null}', "message"),
            (b'{"message":"a","x":1}', "x"), (b"[]", None), (b"nonsense", None), (b'{"message":"a"', None),
            (b'{"message":"\xff\xfe"}', None), (b'{"message":"\\ud800"}', None), (b"[" * 100_000, None),
            (b'{"message":' + b'{"a":' * 50_000, None), (b'{"message":""}', "message"),
            (b'{"message":"\\u0000"}', "message"), (b'{"message":"' + b"x" * 600 + b'"}', "message"),
        ],
    )  # fmt: skip
    async def test_of_a_body_that_does_not_fit(self, any_api: Api, body: bytes, param: str | None):
        conversation = await any_api.open()
        answer = await any_api.client.post(f"/v1/conversations/{conversation}/turns", content=body, headers=JSON)
        error = require_shape(answer, 422)
        assert error["param"] == param
        assert len(answer.content) < 2_000

    async def test_of_a_body_that_is_too_large(self, api: Api):
        large = b'{"message":"' + b"x" * MOST_BODY_BYTES + b'"}'
        conversation = await api.open()
        answer = await api.client.post(f"/v1/conversations/{conversation}/turns", content=large, headers=JSON)
        require_shape(answer, 413, "body_too_large")

    @pytest.mark.parametrize("path", ["/v1/conversations", "/v1/chat/completions", "/console/chat"])
    async def test_of_a_body_that_grows_too_large_in_chunks(self, live: Api, path: str):
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"x" * 64 * 1024

        answer = await live.client.post(
            path, content=chunks(), headers=JSON | {"origin": str(live.client.base_url).rstrip("/")}
        )
        assert answer.status_code == 413

    @pytest.mark.parametrize("length", ["-1", "1e3", "\u00b2".encode("latin-1"), "9" * 30, "0x10"])
    async def test_of_a_length_that_is_no_length(self, api: Api, length: str | bytes):
        answer = await api.client.post("/v1/conversations", headers=[("content-length", length)])
        require_shape(answer, 413)

    @pytest.mark.parametrize("what", ["a\0b", "\0", "x" * 8_000, "%ff%fe", "'; DROP TABLE turn; --", "\u202e"])
    async def test_of_an_id_that_can_t_be_one(self, any_api: Api, what: str):
        quoted = quote(what, safe="%")
        for path in (f"/v1/conversations/{quoted}", f"/v1/turns/{quoted}", f"/v1/turns/{quoted}/events"):
            answer = await any_api.get(path)
            assert answer.status_code in (400, 404), path
            require_shape(answer, answer.status_code)
        listed = await any_api.client.get("/v1/conversations", params={"cursor": what})
        assert listed.status_code in (200, 400)

    @pytest.mark.parametrize("last", ["x", "1", "1.", ".1", "1.x", "-1.2", "1.2.3", "9" * 50 + ".1", "\u00b2.1"])
    async def test_of_an_event_id_that_we_never_sent(self, api: Api, last: str):
        turn = await api.say(await api.open(), "hello")
        headers = [("last-event-id", last.encode("latin-1"))]
        answer = await api.client.get(f"/v1/turns/{turn['id']}/events", headers=headers)
        error = require_shape(answer, 400, "invalid_request")
        assert error["param"] == "Last-Event-ID"

    @pytest.mark.parametrize("last", ["0.0", "7.3", "999999.1"])
    async def test_is_not_given_for_an_event_id_of_another_time(self, api: Api, last: str):
        turn = await api.say(await api.open(), "hello")
        assert (await api.events(turn["id"], last))[-1].name == "turn.completed"

    async def test_of_a_store_that_is_gone(self, api: Api, monkeypatch: pytest.MonkeyPatch):
        async def gone(*_: Any) -> None:
            raise StoreUnavailable("the database did not answer")

        monkeypatch.setattr(api.world.services.conversations, "require", gone)
        answer = await api.get("/v1/conversations/conv_1")
        require_shape(answer, 503, "store_unavailable")
        assert int(answer.headers["retry-after"]) >= 2

    async def test_of_something_unforeseen_is_opaque_and_has_a_trace_id(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ):
        async def broken(*_: Any) -> None:
            raise RuntimeError("dsn=postgres://u:hunter2@db")

        monkeypatch.setattr(api.world.services.conversations, "require", broken)
        answer = await api.client.get(
            "/v1/conversations/conv_1", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        )
        error = require_shape(answer, 500, "internal")
        assert error["trace_id"] == "a" * 32
        assert "hunter2" not in answer.text

    async def test_while_the_server_shuts_down(self, api: Api):
        conversation = await api.open()
        api.world.services.draining = True
        answer = await api.post(f"/v1/conversations/{conversation}/turns", {"message": "hello"})
        require_shape(answer, 503, "shutting_down")
        assert int(answer.headers["retry-after"]) >= 5


async def test_every_answer_forbids_sniffing_framing_and_referrers(api: Api):
    for answer in (await api.get("/healthz"), await api.get("/nothing"), await api.get("/docs")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "referrer-policy" in answer.headers


class TestHealth:
    async def test_says_what_is_off_and_that_turns_are_taken(self, api: Api):
        answer = await api.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        assert "budgets" in answer.json()["off"]

    async def test_is_not_ready_while_shutting_down_and_still_alive(self, api: Api):
        api.world.services.draining = True
        assert (await api.get("/readyz")).status_code == 503
        assert (await api.get("/healthz")).status_code == 200

    async def test_metrics_are_prometheus_text_without_tenants_or_users(self, api: Api):
        await api.say(await api.open(), "hello")
        page = await api.get("/metrics")
        assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'agent_requests_total{agent="shop",intent="chat"} 1.0' in page.text
        assert "demo-customer" not in page.text
        assert "default" not in page.text
