"""Documentation for routes that read and write bytes themselves, for speed."""

from typing import Any

from pydantic import BaseModel

from handrail.http.errors import error_body

_SAID = {
    401: "No valid API key.",
    403: "Not allowed for this principal.",
    404: "No such thing for this principal.",
    409: "Another turn is in the way.",
    413: "The body is too large.",
    422: "The body does not fit its schema.",
    429: "Too many requests; `Retry-After` says when.",
    503: "Not able to serve now; `Retry-After` says when.",
}


def accepts(schema: type[BaseModel]) -> dict[str, Any]:
    """The request body of a route, for OpenAPI."""
    body = schema.model_json_schema()
    body = _inlined(body, body.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}


def _inlined(part: Any, definitions: dict[str, Any]) -> Any:
    """The schema with every reference replaced by what it refers to; ours do not contain themselves."""
    if isinstance(part, dict):
        if "$ref" in part:
            return _inlined(definitions[part["$ref"].rpartition("/")[2]], definitions)
        return {name: _inlined(each, definitions) for name, each in part.items()}
    if isinstance(part, list):
        return [_inlined(each, definitions) for each in part]
    return part


def answers(what: str, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route: what success is, and the errors it can give."""
    example = error_body("not_found", "there is no conversation 'conv_1'", status=404)
    said: dict[int | str, dict[str, Any]] = {"2XX": {"description": what}}
    for status in errors:
        said[status] = {"description": _SAID[status], "content": {"application/json": {"example": example}}}
    return said
