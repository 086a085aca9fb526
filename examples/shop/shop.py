"""The shop's own system: a SQLite database of customers, products, orders and refunds.

It stands for the system a real agent would talk to. It knows nothing of the agent: callers say which customer acts,
and give a key for every change, so that the same change asked for twice happens once.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from .seed import fill

RETURN_DAYS = 30
_FORMAT = 1
_TABLES = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, subject TEXT NOT NULL, name TEXT NOT NULL, email TEXT NOT NULL,
    street TEXT NOT NULL, city TEXT NOT NULL, UNIQUE (tenant, subject)
);
CREATE TABLE products (
    sku TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, price_cents INTEGER NOT NULL,
    stock INTEGER NOT NULL, back_on TEXT
);
CREATE TABLE orders (
    id TEXT PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), status TEXT NOT NULL,
    placed_on TEXT NOT NULL, shipping_cents INTEGER NOT NULL, paid_with TEXT NOT NULL, carrier TEXT, tracking TEXT,
    eta_on TEXT, delivered_on TEXT
);
CREATE TABLE lines (
    order_id TEXT NOT NULL REFERENCES orders (id), sku TEXT NOT NULL REFERENCES products (sku),
    quantity INTEGER NOT NULL, price_cents INTEGER NOT NULL
);
CREATE TABLE refunds (
    id INTEGER PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders (id), amount_cents INTEGER NOT NULL,
    reason TEXT NOT NULL, made_at TEXT NOT NULL
);
CREATE TABLE changes (key TEXT PRIMARY KEY, outcome TEXT NOT NULL, made_at TEXT NOT NULL);
"""

Row = sqlite3.Row
Work = Callable[[sqlite3.Connection], dict[str, Any]]


def today() -> date:
    return datetime.now(UTC).date()


def database_file() -> Path:
    return Path(os.environ.get("HANDRAIL_DATA_DIR", ".handrail")) / "shop.db"


@contextmanager
def connect() -> Generator[sqlite3.Connection]:
    """A short connection; the first one creates the shop."""
    file = database_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file, timeout=5, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        if connection.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
            _create(connection)
        yield connection


def change(key: str, work: Work) -> dict[str, Any]:
    """Do `work` in one transaction, once for each `key`: asked again, give the first outcome."""
    with connect() as connection, _transaction(connection):
        earlier = _outcome(connection, key)
        if earlier is not None:
            return earlier
        outcome = work(connection)
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        connection.execute("INSERT INTO changes VALUES (?, ?, ?)", (key, json.dumps(outcome), made_at))
        return outcome


def outcome_of(key: str) -> dict[str, Any] | None:
    """What the change with this key came to; None when it never happened."""
    with connect() as connection:
        return _outcome(connection, key)


def customer(connection: sqlite3.Connection, tenant: str, subject: str) -> Row | None:
    return connection.execute("SELECT * FROM customers WHERE tenant = ? AND subject = ?", (tenant, subject)).fetchone()


def order(connection: sqlite3.Connection, customer: Row | None, order_id: str) -> dict[str, Any] | None:
    """One order of this customer; another customer's order is as unknown as one that does not exist."""
    owner = customer["id"] if customer else None
    found = connection.execute(
        "SELECT * FROM orders WHERE id = ? AND customer_id = ?", (order_id.strip().upper(), owner)
    ).fetchone()
    return None if found is None else _with_totals(connection, found)


def orders(connection: sqlite3.Connection, customer: Row | None) -> list[dict[str, Any]]:
    """All orders of this customer, newest first."""
    owner = customer["id"] if customer else None
    query = "SELECT * FROM orders WHERE customer_id = ? ORDER BY placed_on DESC, id DESC"
    rows = connection.execute(query, (owner,)).fetchall()
    return [_with_totals(connection, row) for row in rows]


def products(connection: sqlite3.Connection, words: str) -> list[Row]:
    """Products whose name, number or description has every word, those with the words in the name first."""
    rows = connection.execute("SELECT * FROM products ORDER BY name").fetchall()
    wanted = [word.removesuffix("s") for word in words.lower().split()]

    def misses(text: str) -> int:
        return sum(word not in text.lower() for word in wanted)

    fitting = [row for row in rows if not misses(f"{row['sku']} {row['name']} {row['description']}")]
    return sorted(fitting, key=lambda row: misses(f"{row['sku']} {row['name']}"))


def add_refund(connection: sqlite3.Connection, order_id: str, amount_cents: int, reason: str) -> str:
    """Pay back and mark the order as refunded; gives the refund's number."""
    row = connection.execute(
        "INSERT INTO refunds (order_id, amount_cents, reason, made_at) VALUES (?, ?, ?, ?)",
        (order_id.strip().upper(), amount_cents, reason[:500], datetime.now(UTC).isoformat(timespec="seconds")),
    )
    connection.execute("UPDATE orders SET status = 'refunded' WHERE id = ?", (order_id.strip().upper(),))
    return f"R{5000 + (row.lastrowid or 0)}"


def mark_cancelled(connection: sqlite3.Connection, order_id: str) -> None:
    connection.execute("UPDATE orders SET status = 'cancelled', eta_on = NULL WHERE id = ?", (order_id,))


def set_email(connection: sqlite3.Connection, customer_id: int, email: str) -> None:
    connection.execute("UPDATE customers SET email = ? WHERE id = ?", (email, customer_id))


def why_not_refundable(found: dict[str, Any], on: date) -> str | None:
    """The reason in words for the customer; None when a refund is possible."""
    match found["status"]:
        case "processing":
            return "it has not been shipped yet, so it can be cancelled instead"
        case "shipped":
            return "it is still on its way; a refund is possible once it has been delivered"
        case "cancelled":
            return "it was cancelled, and what you paid has been sent back to you"
        case "refunded":
            return "it has been refunded already"
        case _:
            last_day = date.fromisoformat(found["delivered_on"]) + timedelta(days=RETURN_DAYS)
            if on > last_day:
                return f"it was delivered more than {RETURN_DAYS} days ago"
            return None


def _with_totals(connection: sqlite3.Connection, found: Row) -> dict[str, Any]:
    lines = connection.execute(
        "SELECT name, quantity, l.price_cents FROM lines l JOIN products USING (sku) WHERE order_id = ? ORDER BY name",
        (found["id"],),
    ).fetchall()
    items_cents = sum(line["quantity"] * line["price_cents"] for line in lines)
    items = [f"{line['quantity']} x {line['name']}" for line in lines]
    return {**dict(found), "items": items, "total_cents": items_cents + found["shipping_cents"]}


def _outcome(connection: sqlite3.Connection, key: str) -> dict[str, Any] | None:
    row = connection.execute("SELECT outcome FROM changes WHERE key = ?", (key,)).fetchone()
    return None if row is None else json.loads(row["outcome"])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _create(connection: sqlite3.Connection) -> None:
    """Two processes may come here at once; the one that waits finds the shop made."""
    with _transaction(connection):
        if connection.execute("PRAGMA user_version").fetchone()[0] == _FORMAT:
            return
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        fill(connection, today())
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
