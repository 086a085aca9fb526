"""Every answer that a test gets is held against the OpenAPI document: status, media type, and JSON by its schema."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import jsonschema_rs

from handrail.core import events
from handrail.flows.services import Services
from handrail.http.app import create_app
from handrail.http.errors import STATUS

JSON, EVENTS = "application/json", "text/event-stream"
# What the framework says where no operation is: no such path, no such method.
NO_OPERATION = ("404", "405", "400", "403", "413", "503")


@cache
def document() -> Mapping[str, Any]:
    """Of an application without anything behind it: the document depends on the routes alone."""
    return create_app(cast(Services, SimpleNamespace()), port=8080).openapi()


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Paths with names in them come last, as the literal ones go before them."""
    paths = sorted(document()["paths"], key=lambda path: ("{" in path, path))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


def operation_of(method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
    """(`GET /v1/...`, what the document says of it); the operation that answers this address, if one does."""
    for pattern, template in _patterns():
        operation = document()["paths"][template].get(method.lower())
        if operation is not None and pattern.fullmatch(path):
            return f"{method} {template}", operation
    return None


@cache
def _validator(name: str, status: str, kind: str) -> Any:
    method, _, template = name.partition(" ")
    schema: Any = {"$ref": "#/components/schemas/Error"}
    if template:
        content = document()["paths"][template][method.lower()]["responses"][status]["content"][kind]
        schema = content["itemSchema" if kind == EVENTS else "schema"]
    return jsonschema_rs.validator_for({**schema, "components": document()["components"]})


def _events(text: str) -> Iterator[dict[str, str]]:
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            yield fields


def _mistakes_of(event: Mapping[str, str], validator: Any) -> Iterator[str]:
    yield from (each.message for each in validator.iter_errors(event))
    if event.get("event") in events.ENDS_STREAM:
        turn = _validator("GET /v1/turns/{turn_id}", "200", JSON)
        yield from (f"{each.message} in the turn" for each in turn.iter_errors(json.loads(event["data"])))


def mistakes(method: str, path: str, status: int, content_type: str, content: bytes | None) -> list[str]:
    """What is not as documented, in words; `content` is left out where a stream is not read whole."""
    found, code, kind = operation_of(method, path), str(status), content_type.partition(";")[0]
    if found is None:
        if not path.startswith("/v1") or (method, status) == ("OPTIONS", 204):
            # A page, or the answer to a browser that asks before it calls from another site.
            return []
        name, kinds = "", {JSON} if code in NO_OPERATION else set[str]()
    else:
        name, operation = found
        kinds = set(operation["responses"].get(code, {}).get("content", ()))
    said = f"{name or method + ' ' + path} answered {status} with {kind!r}"
    if kind not in kinds:
        return [f"{said}; documented are {sorted(kinds) or 'other statuses'}"]
    if content is None or kind not in (JSON, EVENTS):
        return []
    if kind == EVENTS:
        validator, said_events = _validator(name, code, kind), _events(content.decode())
        return [f"{said}: {wrong}" for each in said_events for wrong in _mistakes_of(each, validator)]
    body = json.loads(content)
    wrong = [
        f"{said}: {each.message} at {each.instance_path}" for each in _validator(name, code, kind).iter_errors(body)
    ]
    if status >= 400 and "error" in body and STATUS.get(body["error"]["code"]) != status:
        wrong.append(f"{said} and code {body['error']['code']!r}, which is another status in the table")
    return wrong


class DocumentedClient(httpx2.AsyncClient):
    """A client that believes no answer which the document does not know."""

    async def send(self, request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
        answer = await super().send(request, stream=stream, **more)
        found = mistakes(
            request.method,
            request.url.path,
            answer.status_code,
            answer.headers.get("content-type", ""),
            None if stream else answer.content,
        )
        assert found == []
        return answer
