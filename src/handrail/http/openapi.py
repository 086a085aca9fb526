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
    body = schema.model_json_schema(ref_template="#/components/schemas/{model}")
    body.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}


def answers(what: str, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route: what success is, and the errors it can give."""
    example = error_body("not_found", "there is no conversation 'conv_1'", status=404)
    said: dict[int | str, dict[str, Any]] = {"2XX": {"description": what}}
    for status in errors:
        said[status] = {"description": _SAID[status], "content": {"application/json": {"example": example}}}
    return said
