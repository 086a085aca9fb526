"""JSON in one place: fast in and out, and a canonical form for hashes."""

import hashlib
from typing import Any

import orjson


def dumps(value: Any) -> str:
    """Compact JSON text; dataclasses, datetimes and UUIDs included, anything else as `str(value)`."""
    return orjson.dumps(value, default=str).decode()


def loads(text: str | bytes) -> Any:
    """Raises `ValueError` on malformed JSON."""
    return orjson.loads(text)


def canonical(value: Any) -> bytes:
    """The one spelling of a value: keys sorted, no spaces; equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()
