"""Identifiers: a prefix that names the thing, and a UUIDv7 so that ids sort by time of creation."""

from uuid_utils import uuid7


def new_id(prefix: str) -> str:
    """A fresh id such as `conv_019...`: prefix, underscore, 32 hex digits."""
    return f"{prefix}_{uuid7().hex}"
