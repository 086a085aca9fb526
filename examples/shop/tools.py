"""What the agent can do in the shop. Each tool acts for the customer who is talking, and for nobody else."""

import re
import sqlite3
from typing import Any

from handrail import ToolContext, tool

from . import shop

# What the shop's own system vouches for; all other text of a result is nobody's word (docs/guide.md, "Untrusted text").
_ORDER = (
    *("order_id", "status", "placed_on", "items", "total_cents", "paid_with", "carrier", "tracking", "eta_on"),
    *("delivered_on", "refundable_cents", "why_not_refundable"),
)
_DONE = ("order_id", "why", "refund_id", "amount_cents", "refunded_cents", "paid_with", "email")
# A customer is better off with the order as of some minutes ago, and told so, than with nothing.
_LAST_GOOD = 600
_NOT_FOUND = "there is no such order in this account"
_NO_ACCOUNT = "there is no account for you in this shop"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")


def happened(ctx: ToolContext, **_arguments: Any) -> dict[str, Any] | None:
    """After a timeout: what the change with this call's key came to, or None when it never happened."""
    return shop.outcome_of(ctx.idempotency_key)


@tool(effect="read", trusted=_ORDER, last_good_seconds=_LAST_GOOD)
def get_order(order_id: str, ctx: ToolContext) -> dict[str, Any]:
    """Look up one order of the customer: status, items, delivery, and whether it can be cancelled or refunded.

    Args:
        order_id: The order number, such as A1001.
    """
    with shop.connect() as connection:
        found = shop.order(connection, _customer(connection, ctx), order_id)
    return {"found": False, "order_id": order_id} if found is None else _described(found)


@tool(effect="read", trusted=("orders",), last_good_seconds=_LAST_GOOD)
def list_orders(ctx: ToolContext) -> dict[str, Any]:
    """List all orders of the customer, newest first, with status and total."""
    with shop.connect() as connection:
        found = shop.orders(connection, _customer(connection, ctx))
    shown = ("status", "placed_on", "items", "total_cents")
    return {"orders": [{"order_id": each["id"], **{key: each[key] for key in shown}} for each in found]}


@tool(effect="read", trusted=("product", "products"), last_good_seconds=_LAST_GOOD)
def check_stock(product: str) -> dict[str, Any]:
    """Tell whether a product is in stock, and when it is back if it is not.

    Args:
        product: The product's name or part of it, such as kettle.
    """
    with shop.connect() as connection:
        found = shop.products(connection, product)
    keys = ("name", "stock", "back_on", "price_cents")
    return {"product": product, "products": [{key: each[key] for key in keys} for each in found[:5]]}


@tool(effect="read", trusted=("products.sku", "products.name", "products.price_cents", "products.stock"))
def search_products(query: str) -> dict[str, Any]:
    """Search the products by words of their name or description.

    Args:
        query: One or more words, such as warm blanket.
    """
    with shop.connect() as connection:
        found = shop.products(connection, query)
    return {"products": [dict(each) for each in found[:8]]}


@tool(effect="read", trusted=("name", "email", "street", "city"))
def get_account(ctx: ToolContext) -> dict[str, Any]:
    """Show the customer's own account: name, e-mail address and delivery address."""
    with shop.connect() as connection:
        found = _customer(connection, ctx)
    if found is None:
        return {"found": False}
    return {"found": True, **{key: found[key] for key in ("name", "email", "street", "city")}}


@tool(
    effect="write",
    idempotent=True,
    reconcile=happened,
    trusted=_DONE,
    free_text=("reason",),
    asked_as=("money back", "pay back", "get back what I paid"),
)
def refund_order(order_id: str, amount_cents: int, ctx: ToolContext, reason: str = "") -> dict[str, Any]:
    """Refund a delivered order, all or part of it, to the payment method it was paid with.

    Args:
        order_id: The order number, such as A1003.
        amount_cents: How much, in euro cents; never more than the order's refundable_cents.
        reason: Why, in the customer's words.
    """

    def work(connection: sqlite3.Connection) -> dict[str, Any]:
        found = shop.order(connection, _customer(connection, ctx), order_id)
        why = _why_no_refund(found, amount_cents)
        if found is None or why:
            return {"ok": False, "order_id": order_id, "why": why}
        refund_id = shop.add_refund(connection, order_id, amount_cents, reason)
        paid = {"refund_id": refund_id, "amount_cents": amount_cents, "paid_with": found["paid_with"]}
        return {"ok": True, "order_id": found["id"], **paid}

    return shop.change(ctx.idempotency_key, work)


@tool(effect="write", idempotent=True, reconcile=happened, trusted=_DONE, asked_as=("call off",))
def cancel_order(order_id: str, ctx: ToolContext) -> dict[str, Any]:
    """Cancel an order that has not been shipped yet, and pay back all of it.

    Args:
        order_id: The order number, such as A1002.
    """

    def work(connection: sqlite3.Connection) -> dict[str, Any]:
        found = shop.order(connection, _customer(connection, ctx), order_id)
        if found is None or found["status"] != "processing":
            why = f"it is {found['status']} already" if found else _NOT_FOUND
            return {"ok": False, "order_id": order_id, "why": why}
        shop.mark_cancelled(connection, found["id"])
        paid = {"refunded_cents": found["total_cents"], "paid_with": found["paid_with"]}
        return {"ok": True, "order_id": found["id"], **paid}

    return shop.change(ctx.idempotency_key, work)


@tool(effect="write", idempotent=True, reconcile=happened, trusted=_DONE, personal=("email",))
def update_email(email: str, ctx: ToolContext) -> dict[str, Any]:
    """Change the e-mail address of the customer's own account.

    Args:
        email: The new address.
    """

    def work(connection: sqlite3.Connection) -> dict[str, Any]:
        account = _customer(connection, ctx)
        if account is None or not _EMAIL.fullmatch(email):
            return {"ok": False, "why": "that is not an e-mail address" if account else _NO_ACCOUNT}
        shop.set_email(connection, account["id"], email)
        return {"ok": True, "email": email}

    return shop.change(ctx.idempotency_key, work)


def _customer(connection: sqlite3.Connection, ctx: ToolContext) -> shop.Row | None:
    return shop.customer(connection, ctx.principal.tenant_id, ctx.principal.subject)


def _why_no_refund(found: dict[str, Any] | None, amount_cents: int) -> str | None:
    if found is None:
        return _NOT_FOUND
    if not 0 < amount_cents <= found["total_cents"]:
        return "the amount is not part of what was paid for it"
    return shop.why_not_refundable(found, shop.today())


def _described(found: dict[str, Any]) -> dict[str, Any]:
    why = shop.why_not_refundable(found, shop.today())
    keys = ("status", "placed_on", "items", "total_cents", "paid_with", "carrier", "tracking", "eta_on", "delivered_on")
    return {
        "found": True,
        "order_id": found["id"],
        **{key: found[key] for key in keys},
        "cancellable": found["status"] == "processing",
        "refundable_cents": 0 if why else found["total_cents"],
        "why_not_refundable": why,
    }
