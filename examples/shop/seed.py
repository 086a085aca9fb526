"""What the shop starts with: the same customers, products and orders every time, dated around the first day."""

import random
import sqlite3
from datetime import date, timedelta

SEED = 2014

_PRODUCTS = [
    ("KET-08", "Birch kettle", "electric kettle, 0.8 litres", 3900, 12, None),
    ("KET-17", "Oak kettle", "electric kettle, 1.7 litres", 4900, 0, 6),
    ("MUG-01", "Enamel mug", "mug for home and camping, 0.35 litres", 1200, 140, None),
    ("BOT-05", "Steel bottle", "insulated drinking bottle, 0.5 litres", 2400, 35, None),
    ("BLA-WO", "Wool blanket", "warm blanket of lambswool", 8900, 7, None),
    ("BLA-CO", "Cotton blanket", "light blanket, machine washable", 4500, 22, None),
    ("BAG-22", "Trail backpack", "backpack for a day's walk, 22 litres", 7900, 9, None),
    ("BAG-18", "City backpack", "backpack with laptop sleeve, 18 litres", 6900, 0, 13),
    ("LAM-RE", "Reading lamp", "dimmable lamp with a narrow light", 5900, 15, None),
    ("LAM-LA", "Lantern", "rechargeable outdoor lamp", 3400, 3, None),
    ("CAN-01", "Scented candle", "candle with cedar and orange", 1800, 60, None),
    ("NOT-01", "Field notebook", "notebook with waterproof paper", 900, 200, None),
]

_CUSTOMERS = [
    ("demo-customer", "Robin Vermeer", "robin@example.com", "Lindelaan 8", "Utrecht"),
    ("other-customer", "Alex Peeters", "alex@example.com", "Kerkstraat 21", "Ghent"),
]

# Id, customer, status, days since it was placed, lines, paid with, days to the expected or since the actual delivery.
_ORDERS = [
    ("A1001", 1, "shipped", 3, [("KET-17", 1), ("MUG-01", 2)], "iDEAL", 2),
    ("A1002", 1, "processing", 1, [("LAM-RE", 1)], "Visa", 4),
    ("A1003", 1, "delivered", 12, [("BLA-CO", 1)], "Visa", 9),
    ("A1004", 1, "delivered", 15, [("BLA-WO", 2), ("CAN-01", 1)], "PayPal", 11),
    ("A1005", 1, "delivered", 75, [("BAG-22", 1)], "Mastercard", 71),
    ("A1006", 1, "cancelled", 20, [("NOT-01", 3)], "PayPal", 0),
]
_OTHERS = 24
_FREE_SHIPPING_FROM, _SHIPPING = 5000, 495


def fill(connection: sqlite3.Connection, today: date) -> None:
    """Put everything into empty tables."""
    rng = random.Random(SEED)
    for number, customer in enumerate(_CUSTOMERS, 1):
        connection.execute("INSERT INTO customers VALUES (?, 'default', ?, ?, ?, ?, ?)", (number, *customer))
    for sku, name, description, price, stock, back_in in _PRODUCTS:
        back_on = (today + timedelta(days=back_in)).isoformat() if back_in else None
        connection.execute(
            "INSERT INTO products VALUES (?, ?, ?, ?, ?, ?)", (sku, name, description, price, stock, back_on)
        )
    for order in [*_ORDERS, *_of_others(rng)]:
        _add_order(connection, rng, today, *order)


def _of_others(rng: random.Random) -> list[tuple[str, int, str, int, list[tuple[str, int]], str, int]]:
    """Orders of another customer, so that there is something the demo's customer must not see."""
    skus = [product[0] for product in _PRODUCTS]
    made: list[tuple[str, int, str, int, list[tuple[str, int]], str, int]] = []
    for number in range(_OTHERS):
        lines = [(sku, rng.randint(1, 3)) for sku in rng.sample(skus, rng.randint(1, 3))]
        age = 10 + 3 * number
        made.append((f"A{2001 + number}", 2, "delivered", age, lines, rng.choice(["Visa", "iDEAL"]), age - 3))
    return made


def _add_order(
    connection: sqlite3.Connection,
    rng: random.Random,
    today: date,
    order_id: str,
    customer: int,
    status: str,
    age: int,
    lines: list[tuple[str, int]],
    paid_with: str,
    days: int,
) -> None:
    prices = {product[0]: product[3] for product in _PRODUCTS}
    items = sum(prices[sku] * quantity for sku, quantity in lines)
    shipping = 0 if items >= _FREE_SHIPPING_FROM else _SHIPPING
    sent = status in ("shipped", "delivered")
    carrier = rng.choice(["PostNL", "DHL"]) if sent else None
    tracking = f"3SJL{rng.randrange(10**9):09d}" if sent else None
    eta_on = (today + timedelta(days=days)).isoformat() if status in ("shipped", "processing") else None
    delivered_on = (today - timedelta(days=days)).isoformat() if status == "delivered" else None
    placed_on = (today - timedelta(days=age)).isoformat()
    connection.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (order_id, customer, status, placed_on, shipping, paid_with, carrier, tracking, eta_on, delivered_on),
    )
    for sku, quantity in lines:
        connection.execute("INSERT INTO lines VALUES (?, ?, ?, ?)", (order_id, sku, quantity, prices[sku]))
