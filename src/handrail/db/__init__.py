"""The store under every room: declared with SQLAlchemy Core, run by the drivers themselves.

A flow opens `async with db.batch() as batch` and hands it to the rooms' store methods, which append statements. The
batch runs atomically when the block ends. Stores never commit, and nothing is read or awaited inside the block.
Closed: when the store is down, `StoreUnavailable` is raised and no turn begins.
"""

from handrail.db.batch import Batch, Conflict, Database, NotStorable, Row, StoreUnavailable, WrongDatabase
from handrail.db.expiry import BEFORE, Expiry
from handrail.db.metadata import boolean, json_text, keys_of, metadata, micros, now
from handrail.db.prepared import Prepared, scoped
from handrail.db.totals import plus, total

__all__ = [
    "BEFORE",
    "Batch",
    "Conflict",
    "Database",
    "Expiry",
    "NotStorable",
    "Prepared",
    "Row",
    "StoreUnavailable",
    "WrongDatabase",
    "boolean",
    "json_text",
    "keys_of",
    "metadata",
    "micros",
    "now",
    "plus",
    "scoped",
    "total",
]
