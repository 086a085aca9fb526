"""What is said in the benchmark: the users' messages, the model's answers, and what the two tools return.

Every message carries an order id of its own, so that nothing can be answered from a cache, and the model's answer after
the tools is another one than without them, so that a server that skipped its tools is caught by the text it returns.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Case = Literal["plain", "tools", "long"]

ANSWER_TOKENS = 20
STREAM_TOKENS = 40

INSTRUCTIONS = "You answer the customers of a small shop. Be brief, and look things up before you answer."

PLAIN_WORDS = (
    "Your order left our warehouse this morning and will reach you on Thursday; you can follow it with the link."
)
TOOL_WORDS = "Yes: the order is on its way to you, and the blue lamp is still available in our main shop."
WRONG_TOOL_RESULTS = "The tool results did not reach the model."

ASKS_FOR_TOOLS = "in stock"
"""The mock model calls both tools when the last user message contains this and tools are offered."""

ORDER_ID = re.compile(r"A\d{6}")
ORDER_STATE = "handed_to_carrier"
STOCK_STATE = "available_in_shop"
SKU = "LAMP-BLUE"

PLAIN_MESSAGES = (
    "Where is my order {order}, and when will it come to my home?",
    "When does my order {order} arrive? We need it before Friday.",
    "Can you track my order {order}, and tell me whether it left?",
)
TOOL_MESSAGES = (
    "Is my order {order} sent, and is a blue lamp still in stock?",
    "Where is order {order}, and is the blue lamp still in stock?",
    "Has order {order} shipped, and are some blue lamps in stock?",
)
LONG_MESSAGE = (
    "Good morning, I bought a reading lamp and two new shelves from your shop on a Monday and paid for the faster"
    " delivery, because I am moving into a new flat at the end of this week and wanted to have everything there "
    "on the first evening. The page said that it would take three days, but today is the fifth day, the tracking "
    "page has not changed since Wednesday morning, and nobody has called or left a card at the door of the house."
    " Can you tell me where my order {order} is and when it could be here?"
)


@dataclass(frozen=True, slots=True)
class Message:
    """One user message and the whole answer that must come back for it."""

    text: str
    answer: str
    order_id: str


def answer(words: str, tokens: int) -> list[str]:
    """The answer as the tokens the model streams: the sentence again and again until there are enough."""
    repeated = itertools.islice(itertools.cycle(words.split()), tokens)
    return [word if at == 0 else f" {word}" for at, word in enumerate(repeated)]


def messages(case: Case, *, tokens: int = ANSWER_TOKENS, first_order: int = 100_000) -> Iterator[Message]:
    """Endless user messages of one case, no two alike for 900,000 of them."""
    templates = {"plain": PLAIN_MESSAGES, "tools": TOOL_MESSAGES, "long": (LONG_MESSAGE,)}[case]
    expected = "".join(answer(TOOL_WORDS if case == "tools" else PLAIN_WORDS, tokens))
    for number in itertools.count(first_order):
        order_id = f"A{100_000 + number % 900_000}"
        yield Message(templates[number % len(templates)].format(order=order_id), expected, order_id)


def order_in(text: str) -> str:
    """The order id a message speaks of; a default one when it names none."""
    found = ORDER_ID.search(text)
    return found.group() if found else "A100000"


def lookup_order(order_id: str) -> dict[str, str]:
    """What the order tool of every server returns; the mock model looks for the order id and the state."""
    return {"order_id": order_id, "state": ORDER_STATE, "carrier": "Northwind Parcels", "expected_on": "Thursday"}


def lookup_stock(sku: str) -> dict[str, str | int]:
    """What the stock tool of every server returns; the mock model looks for the state."""
    return {"sku": sku, "state": STOCK_STATE, "pieces": 12}


TOOL_SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]},
        },
    }
    for name, description, argument in (
        ("lookup_order", "Where an order is and when it arrives.", "order_id"),
        ("lookup_stock", "Whether a product is in stock.", "sku"),
    )
]
