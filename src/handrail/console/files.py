"""Files that a page gives out: named, never cached, and harmless in a spreadsheet."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response


def as_file(text: str, media_type: str, name: str) -> Response:
    """A download."""
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(text, 200, headers, media_type)


def as_csv(rows: Sequence[Mapping[str, Any]], name: str, *, empty: str) -> Response:
    """Rows as a download for a spreadsheet, all with the columns of the first; of none, the one column `empty`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [empty], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({column: harmless(value) for column, value in row.items()} for row in rows)
    return as_file(text.getvalue(), "text/csv; charset=utf-8", name)


def harmless(value: Any) -> Any:
    """A cell that a spreadsheet takes as text, whatever it begins with."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else value
