"""The two lookups of the benchmark's agent; they answer at once, so that nothing but the way to them is measured."""

from handrail import tool


@tool(effect="read")
async def lookup_order(order_id: str) -> dict[str, str]:
    """Where an order is and when it arrives."""
    return {
        "order_id": order_id,
        "state": "handed_to_carrier",
        "carrier": "Northwind Parcels",
        "expected_on": "Thursday",
    }


@tool(effect="read")
async def lookup_stock(sku: str) -> dict[str, str | int]:
    """Whether a product is in stock."""
    return {"sku": sku, "state": "available_in_shop", "pieces": 12}
