"""The OpenAPI document says what every route answers, and the answers of all other tests here are held against it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from handrail.http.errors import STATUS
from tests.http.api import Api
from tests.http.documented import JSON, document, mistakes, operation_of

OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, item in document()["paths"].items()
    for method, operation in item.items()
]
by_name = pytest.mark.parametrize(
    "operation", [operation for _, operation in OPERATIONS], ids=[name for name, _ in OPERATIONS]
)


def objects(part: Any) -> Iterator[Mapping[str, Any]]:
    """Every schema of an object that has named fields, however deep."""
    if isinstance(part, dict):
        if "properties" in part:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from objects(each)


class TestDocument:
    @by_name
    def test_says_what_success_is_and_holds(self, operation: Mapping[str, Any]):
        successes = [each for code, each in operation["responses"].items() if code.startswith("2")]
        assert successes
        for success in successes:
            assert success["content"]
            assert all(each.get("schema") or each.get("itemSchema") for each in success["content"].values())

    @by_name
    def test_gives_every_error_the_one_shape(self, operation: Mapping[str, Any]):
        failures = {code: each for code, each in operation["responses"].items() if not code.startswith("2")}
        assert {int(code) for code in failures} <= set(STATUS.values())
        for code, each in failures.items():
            reference = each["content"][JSON]["schema"]["$ref"].rpartition("/")[2]
            assert reference in {"Error", "DecisionConflict"} or (code, reference) == ("503", "Readiness")

    @by_name
    def test_names_the_errors_of_bodies_where_a_body_is_taken(self, operation: Mapping[str, Any]):
        assert ("requestBody" in operation) <= ({"413", "415", "422"} <= operation["responses"].keys())

    @by_name
    def test_says_that_a_thing_may_not_be_there_where_one_is_named(self, operation: Mapping[str, Any]):
        named = [each for each in operation.get("parameters", ()) if each["in"] == "path"]
        assert bool(named) <= ("404" in operation["responses"])

    def test_has_closed_schemas_for_answers(self):
        schemas = document()["components"]["schemas"]
        opened = [each["title"] for each in objects(schemas) if each.get("additionalProperties") is not False]
        assert opened == ["AuditLine"]
        assert [each["title"] for each in objects(schemas) if "required" not in each] == []

    def test_lists_the_codes_of_the_table(self):
        assert document()["components"]["schemas"]["ErrorDetails"]["properties"]["code"]["enum"] == sorted(STATUS)

    async def test_is_what_the_server_hands_out(self, api: Api):
        assert (await api.get("/openapi.json")).json() == document()


class TestComparison:
    """What holds the answers of other tests against the document would notice."""

    ERROR = (
        b'{"error":{"type":"not_found_error","code":"not_found","message":"no","param":null,"trace_id":"'
        + b"a" * 32
        + b'"}}'
    )

    EVENT = b'id: 1.1\nevent: %b\ndata: {"id":"turn_1"}\n\n'

    def test_finds_nothing_wrong_with_what_is_documented(self):
        assert mistakes("GET", "/v1/agents", 200, JSON, b'{"data":[],"next_cursor":null}') == []
        assert mistakes("GET", "/v1/turns/turn_1", 404, JSON, self.ERROR) == []
        assert mistakes("GET", "/v1/nothing", 404, JSON, self.ERROR) == []
        assert mistakes("GET", "/metrics", 200, "text/plain; version=0.0.4", b"up 1") == []
        assert mistakes("GET", "/v1/turns/turn_1/events", 200, "text/event-stream", self.EVENT % b"turn.started") == []
        assert mistakes("GET", "/console/status", 418, "text/html", b"<p>") == []

    @pytest.mark.parametrize(
        "answer",
        [
            ("GET", "/v1/agents", 200, JSON, b'{"data":[]}'),
            ("GET", "/v1/agents", 200, JSON, b'{"data":[],"next_cursor":null,"more":1}'),
            ("GET", "/v1/agents", 200, JSON, b'{"data":[{"name":"shop"}],"next_cursor":null}'),
            ("GET", "/v1/agents", 200, "text/html", b"<p>"),
            ("GET", "/v1/agents", 404, JSON, ERROR),
            ("GET", "/v1/turns/turn_1", 401, JSON, ERROR),
            ("GET", "/v1/turns/turn_1", 404, JSON, ERROR.replace(b'"param":null,', b"")),
            ("GET", "/v1/turns/turn_1", 404, JSON, ERROR.replace(b'"code":"not_found"', b'"code":"not_there"')),
            ("GET", "/v1/turns/turn_1/events", 200, "text/event-stream", EVENT % b"turn.began"),
            ("GET", "/v1/turns/turn_1/events", 200, "text/event-stream", EVENT % b"turn.completed"),
            ("GET", "/v1/nothing", 200, JSON, b"{}"),
            ("PATCH", "/v1/agents", 405, JSON, b'{"detail":"Method Not Allowed"}'),
        ],
    )
    def test_finds_an_answer_that_drifted(self, answer: tuple[str, str, int, str, bytes]):
        assert mistakes(*answer) != []

    def test_takes_the_operation_that_would_answer(self):
        found = [operation_of(*each.split(" ")) for each in ("POST /v1/approvals/decisions", "GET /v1/approvals/a")]
        assert [each and each[0] for each in found] == [
            "POST /v1/approvals/decisions",
            "GET /v1/approvals/{approval_id}",
        ]
        assert operation_of("POST", "/v1/approvals/a") is None
