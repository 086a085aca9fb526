"""Files that a page gives out: named, never cached, and harmless in a spreadsheet."""

from typing import Any

from starlette.responses import Response


def as_file(text: str, media_type: str, name: str) -> Response:
    """A download."""
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(text, 200, headers, media_type)


def harmless(value: Any) -> Any:
    """A cell that a spreadsheet takes as text, whatever it begins with."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else value
