"""The shop of the example with more tools: some return what strangers wrote, some act or carry words outside.

It has no intents, so every message goes to the model. Each effect is a row of the shop's own `changes`.
"""

from pathlib import Path

from handrail.delivery.releases import Sources

SHOP = Path(__file__).parents[2] / "examples" / "shop"

MORE = '''
"""What strangers write, and what acts or goes outside."""

import json
from typing import Any

from handrail import ToolContext, tool

from . import shop


def _written(place: str, usual: str) -> str:
    file = shop.database_file().with_name("texts.json")
    return json.loads(file.read_text()).get(place, usual) if file.exists() else usual


def _done(ctx: ToolContext, **what: Any) -> dict[str, Any]:
    return shop.change(ctx.idempotency_key, lambda _: {"ok": True, **what})


@tool(effect="read", trusted=("order_id",))
def order_notes(order_id: str) -> dict[str, Any]:
    """What was noted on an order.

    Args:
        order_id: The order number.
    """
    return {"order_id": order_id, "note": _written(f"note {order_id}", "Please ring twice, the bell is quiet.")}


@tool(effect="read")
def product_reviews(product: str) -> dict[str, Any]:
    """What customers wrote about a product.

    Args:
        product: The product's name.
    """
    return {"reviews": [{"stars": 4, "text": _written("review", "Nice and solid, took five days to arrive.")}]}


@tool(effect="read")
def read_mail() -> dict[str, Any]:
    """The newest message that reached the shop about this customer."""
    return {"from": "carrier@example.org", "text": _written("mail", "The parcel was left with the neighbour.")}


@tool(effect="read", egress=True)
def search_web(query: str, ctx: ToolContext) -> dict[str, Any]:
    """Search the web.

    Args:
        query: What to look for.
    """
    _done(ctx, did="search", query=query)
    return {"results": [{"title": "A result", "text": _written("web", "Kettles are descaled with vinegar.")}]}


@tool(effect="read")
def open_page(address: str, ctx: ToolContext) -> dict[str, Any]:
    """Read a page.

    Args:
        address: Its address.
    """
    _done(ctx, did="open", address=address)
    return {"text": _written("page", "Opening hours: nine to five.")}


@tool(effect="write", idempotent=True, asked_as=("send the invoice", "invoice to"))
def send_invoice(order_id: str, email: str, ctx: ToolContext) -> dict[str, Any]:
    """Send the invoice of an order by e-mail.

    Args:
        order_id: The order number.
        email: Where to.
    """
    return _done(ctx, did="invoice", order_id=order_id, email=email)


@tool(effect="write", idempotent=True)
def change_address(street: str, city: str, ctx: ToolContext) -> dict[str, Any]:
    """Change the delivery address of the customer.

    Args:
        street: Street and number.
        city: The city.
    """
    return _done(ctx, did="address", street=street, city=city)


@tool(effect="write", idempotent=True)
def add_note(order_id: str, text: str, ctx: ToolContext) -> dict[str, Any]:
    """Note something on an order, for the people who pack it.

    Args:
        order_id: The order number.
        text: The note.
    """
    return _done(ctx, did="note", order_id=order_id, text=text)


@tool(effect="write", idempotent=True, asked_as=("order again", "reorder"))
def reorder(order_id: str, ctx: ToolContext, quantity: int = 1) -> dict[str, Any]:
    """Order the same things again.

    Args:
        order_id: The order number.
        quantity: How many times.
    """
    return _done(ctx, did="reorder", order_id=order_id, quantity=quantity)


@tool(effect="write", idempotent=True, asked_as=("give credit", "credit to"))
def transfer_credit(amount_cents: int, email: str, ctx: ToolContext) -> dict[str, Any]:
    """Give some of the customer's credit to somebody else.

    Args:
        amount_cents: How much, in euro cents.
        email: To whom.
    """
    return _done(ctx, did="credit", amount_cents=amount_cents, email=email)
'''

_NAMES = (
    "order_notes, product_reviews, read_mail, search_web, open_page, send_invoice, change_address, add_note, reorder"
)


def sources(notices: str = "") -> Sources:
    """The project; `notices` is one more document of its knowledge."""
    files = {
        path.relative_to(SHOP).as_posix(): path.read_bytes()
        for path in sorted(SHOP.rglob("*"))
        if path.is_file() and path.parent.name not in ("tests", "flows", "__pycache__") and path.name != "intents.yaml"
    }
    more = f"\n\nfrom .more import {_NAMES}, transfer_credit  # noqa: E402,F401\n"
    files["tools.py"] += more.encode()
    files["more.py"] = MORE.encode()
    if notices:
        files["knowledge/notices.md"] = notices.encode()
    return Sources(files)
