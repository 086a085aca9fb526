"""What an address may ask for, by the route's own documentation: anything else is refused, and nothing is ignored.

A slip of the hand in a filter would otherwise answer with everything, and nobody would notice.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection

from handrail.core.times import day_of, micros_of
from handrail.http.errors import ApiError

Schema = Mapping[str, Any]
_SHOWN = 80


def require_known(connection: HTTPConnection) -> None:
    """Look at each parameter of the address; nothing is done for an address without any.

    Raises:
        ApiError: the route has no such parameter, it is given twice, or its value can't be meant.
        UsageError: it is not the time that it should be.
    """
    if not connection.scope["query_string"]:
        return
    known, seen = _known(connection.scope.get("route")), set[str]()
    for name, value in connection.query_params.multi_items():
        shown = name[:_SHOWN]
        if name not in known:
            these = f"there are: {', '.join(known)}" if known else "it takes none"
            raise ApiError("invalid_request", f"this route has no parameter {shown!r}; {these}", param=shown)
        if name in seen:
            raise ApiError("invalid_request", f"{name} is given twice; say it once", param=name)
        seen.add(name)
        _require_value(name, value, known[name])


def _known(route: Any) -> Mapping[str, Schema]:
    """By name, the schemas that the route declares; those of the hot path declare none, and have no route."""
    declared = (getattr(route, "openapi_extra", None) or {}).get("parameters", ())
    return {each["name"]: each["schema"] for each in declared if each["in"] == "query"}


def _require_value(name: str, value: str, schema: Schema) -> None:
    shown = value[:_SHOWN]
    if "enum" in schema and value not in schema["enum"]:
        mend = f"use one of {', '.join(schema['enum'])}"
        raise ApiError("invalid_request", f"{name} {shown!r} is not known; {mend}", param=name)
    if schema["type"] == "integer" and not _is_within(value, schema):
        least, most = schema.get("minimum", 0), schema.get("maximum")
        range_ = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise ApiError("invalid_request", f"{name} {shown!r} is not a number {range_}", param=name)
    read = {"date-time": micros_of, "date": day_of}.get(schema.get("format", ""))
    if read is not None:
        read(name, value)


def _is_within(text: str, schema: Schema) -> bool:
    # More digits than these are a number beyond every limit, and slow to read.
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return False
    return schema.get("minimum", 0) <= int(text) <= schema.get("maximum", 10**9)
