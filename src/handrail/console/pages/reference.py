"""The API reference: the application's own OpenAPI document, as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from handrail.console.access import visitor_of_open_page
from handrail.console.rendering import Renderer
from handrail.core import json

METHODS = ("get", "post", "put", "patch", "delete")
OTHER = "other"
STOCK_PHRASE = "Successful Response"


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter or a field of a body."""

    name: str
    place: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    summary: str
    description: str
    fields: tuple[Field, ...]
    responses: tuple[tuple[str, str], ...]
    example: str

    @property
    def anchor(self) -> str:
        return f"{self.method.lower()}-{self.path.strip('/').translate(str.maketrans('/{}', '-  ')).replace(' ', '')}"


@dataclass(frozen=True, slots=True)
class ReferencePage:
    renderer: Renderer

    async def show(self, request: Request) -> Response:
        document: Mapping[str, Any] = request.app.openapi()
        address = str(request.base_url).rstrip("/")
        return self.renderer.page(
            "reference.html",
            current="reference",
            visitor=await visitor_of_open_page(request),
            title=document["info"]["title"],
            description=document["info"].get("description", ""),
            version=document["info"]["version"],
            groups=groups(document, address),
            address=address,
        )


def add_routes(app: FastAPI, renderer: Renderer) -> None:
    app.add_route("/docs", ReferencePage(renderer).show, include_in_schema=False)


def groups(document: Mapping[str, Any], address: str) -> dict[str, list[Operation]]:
    """The document's operations by their first tag, in the order they were declared."""
    found: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                tag = (item[method].get("tags") or [OTHER])[0]
                found.setdefault(tag, []).append(_operation(document, method, path, item[method], address))
    return found


def _operation(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any], address: str
) -> Operation:
    body = _resolved(
        document, operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    )
    fields = (*_parameters(document, operation.get("parameters", ())), *_body_fields(document, body))
    summary, description = _first_sentence(operation.get("description", "").strip())
    return Operation(
        method=method.upper(),
        path=path,
        summary=summary or operation.get("summary", ""),
        description=description,
        fields=fields,
        responses=tuple(_responses(operation.get("responses", {}))),
        example=_example(document, method.upper(), f"{address}{path}", body),
    )


def _first_sentence(text: str) -> tuple[str, str]:
    """The sentence to recognise an operation by, and the rest."""
    first, stop, rest = text.replace("\n", " ").partition(". ")
    return f"{first}." if stop else first, rest


def _parameters(document: Mapping[str, Any], parameters: Sequence[Mapping[str, Any]]) -> Iterator[Field]:
    for each in parameters:
        schema = _resolved(document, each.get("schema", {}))
        yield Field(each["name"], each["in"], _type(document, schema), each.get("required", False), _said(each, schema))


def _body_fields(document: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[Field]:
    required = body.get("required", ())
    for name, schema in body.get("properties", {}).items():
        yield Field(name, "body", _type(document, schema), name in required, _said(schema))


def _responses(responses: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What each status means; the framework's stock phrase only where nobody said more."""
    said = {code: each.get("description", "") for code, each in responses.items()}
    for code, meaning in said.items():
        if meaning != STOCK_PHRASE or len([other for other in said if other.startswith("2")]) == 1:
            yield code, meaning


def _said(*described: Mapping[str, Any]) -> str:
    return next((each["description"] for each in described if each.get("description")), "")


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, where a reference stands for it; one that leads nowhere is known by its name alone."""
    reference: str | None = schema.get("$ref")
    if reference is None:
        return schema
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found or {"type": reference.rpartition("/")[2]}


def _type(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The type in a few words: `string`, `integer or null`, `list of object`, `"a" or "b"`."""
    schema = _resolved(document, schema)
    if "enum" in schema:
        return " or ".join(json.dumps(each) for each in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(document, each) for each in choices))
    if schema.get("type") == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    kind = schema.get("type", "anything")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _example(document: Mapping[str, Any], method: str, address: str, body: Mapping[str, Any]) -> str:
    lines = ["curl" if method == "GET" else f"curl -X {method}"]
    lines.append(f"'{address}'")
    lines.append("-H 'Authorization: Bearer YOUR_KEY'")
    if body:
        needed = body.get("required", ())
        given = {name: _sample(_resolved(document, body["properties"][name])) for name in needed}
        lines += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(given)}'"]
    return " \\\n  ".join(lines)


def _sample(schema: Mapping[str, Any]) -> Any:
    kinds = {"string": "…", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
    kind = schema.get("type")
    return kinds.get(kind, "…") if isinstance(kind, str) else "…"
