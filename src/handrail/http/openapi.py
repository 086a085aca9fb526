"""Documentation for routes that read and write bytes themselves, for speed.

What is said here is compared with real answers by the tests in `tests/http`; none of it runs when requests are served.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from handrail.http.schemas.shared import Error, Resource

Document = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]
JSON, EVENTS, LINES, TEXT = "application/json", "text/event-stream", "application/x-ndjson", "text/plain"
_COMPONENT = "#/components/schemas/"
_SAID = {
    400: "A header, a parameter or the address is wrong.",
    401: "No valid API key.",
    403: "Not allowed for this principal, or a foreign Host or Origin.",
    404: "No such thing for this principal.",
    409: "Something else is in the way, or was faster.",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    422: "The body does not fit its schema.",
    429: "Too many requests; `Retry-After` says when.",
    500: "Our fault; the trace id finds it in the log.",
    503: "Not able to serve now; `Retry-After` says when.",
}
# Who calls and how often is judged, lengths and addresses are looked at, and a server can be full or broken, whatever
# the route.
OF_ALL = (400, 401, 403, 413, 429, 500, 503)
OF_OPEN = (400, 403, 413, 500)
OF_BODIES = (415, 422)


def accepts(schema: type[BaseModel], *parameters: Document) -> Document:
    """The request body of a route and its parameters, for OpenAPI."""
    body = schema.model_json_schema()
    body = _inlined(body, body.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {JSON: {"schema": body}}}} | reads(*parameters)


def reads(*parameters: Document) -> Document:
    """What a route reads from the query and from headers."""
    return {"parameters": list(parameters)} if parameters else {}


def _parameter(place: str, name: str, said: str, schema: Document) -> Document:
    return {"name": name, "in": place, "required": False, "description": said, "schema": {"type": "string"} | schema}


def query(name: str, said: str, **schema: Any) -> Document:
    return _parameter("query", name, said, schema)


def header(name: str, said: str, **schema: Any) -> Document:
    return _parameter("header", name, said, schema)


def up_to(most: int = 200, default: int = 50) -> Document:
    return query("limit", "How many at most.", type="integer", minimum=1, maximum=most, default=default)


CURSOR = query("cursor", "`next_cursor` of the page before.")
IDEMPOTENCY_KEY = header(
    "Idempotency-Key", "The same key and body again give the first answer, for a day.", minLength=1, maxLength=255
)


def answers(
    what: str,
    schema: type[Resource] | None,
    *errors: int,
    status: int = 200,
    also: Mapping[str, type[Resource] | None] | None = None,
    conflict: type[Error] = Error,
    always: Iterable[int] = OF_ALL,
) -> Responses:
    """The responses of a route: what success is, and every error it can give.

    Args:
        schema: of the JSON body of success; none when success is never JSON.
        errors: what it can give beside what it can `always`.
        also: media types of success that are not JSON; for a stream with the schema of one event or line.
        conflict: the body of 409.
    """
    failures = {code: failure(code, conflict if code == 409 else Error) for code in sorted({*always, *errors})}
    return {status: success(what, schema, also or {}), **failures}


def success(
    what: str, schema: type[Resource] | None, also: Mapping[str, type[Resource] | None] = MappingProxyType({})
) -> Document:
    content: Document = {} if schema is None else {JSON: {"schema": _reference(schema)}}
    for kind, item in also.items():
        content[kind] = {"schema": {"type": "string"}} if item is None else {"itemSchema": _reference(item)}
    return {"description": what, "content": content}


def failure(status: int, schema: type[Error] = Error) -> Document:
    return {"description": _SAID[status], "content": {JSON: {"schema": _reference(schema)}}}


def finished(document: Document) -> Document:
    """FastAPI's document without the errors it assumes, and with the schemas that ours refer to."""
    for operation in _operations(document):
        assumed = operation["responses"].get("422", {}).get("content", {}).get(JSON, {}).get("schema", {})
        if assumed.get("$ref") == f"{_COMPONENT}HTTPValidationError":
            del operation["responses"]["422"]
    document["components"] = {"schemas": _components(set(_references(document["paths"])))}
    return document


def _operations(document: Document) -> Iterator[Document]:
    for item in document["paths"].values():
        yield from item.values()


def _components(names: Iterable[str]) -> Document:
    known = {each.__name__: each for each in _all_of(Resource)}
    wanted = [(known[name], "validation") for name in sorted(names)]
    _, schemas = models_json_schema(wanted, ref_template=f"{_COMPONENT}{{model}}")  # pyright: ignore[reportArgumentType]
    return schemas["$defs"]


def _all_of(schema: type[Resource]) -> Iterator[type[Resource]]:
    for each in schema.__subclasses__():
        yield each
        yield from _all_of(each)


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_COMPONENT)
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _references(each)


def _reference(schema: type[Resource]) -> Document:
    return {"$ref": f"{_COMPONENT}{schema.__name__}"}


def _inlined(part: Any, definitions: dict[str, Any]) -> Any:
    """The schema with every reference replaced by what it refers to; ours do not contain themselves."""
    if isinstance(part, dict):
        if "$ref" in part:
            return _inlined(definitions[part["$ref"].rpartition("/")[2]], definitions)
        return {name: _inlined(each, definitions) for name, each in part.items()}
    if isinstance(part, list):
        return [_inlined(each, definitions) for each in part]
    return part
