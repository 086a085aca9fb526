"""What stands outside: models, systems behind tools, a disk. They take time on the moved clock and fail as planned."""

import errno
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from handrail.core.deadline import DeadlineExceeded
from handrail.core.messages import ToolCall, ToolResult
from handrail.core.models import ModelRequest, ModelUnavailable
from handrail.core.prices import DeclaredRates
from handrail.core.tools import Tool, ToolContext
from handrail.core.usage import Usage
from handrail.insight.costs import PricedModel
from handrail.serving.conversations import ExportFolder
from handrail.serving.models import ModelTier, ScriptedModel
from handrail.serving.models.scripted import Reply, calls
from handrail.serving.tools import ToolRunner, ToolUnavailable
from handrail.serving.tools.runner import Attempt, LeftRunning
from handrail.testing.simulation.days import Plan
from handrail.testing.simulation.ticks import Ticks

_ANSWERS = (
    "The oak kettle is the larger one, so it suits a family; the birch kettle is enough for one or two people.",
    "For reading in bed I would take the reading lamp: its light is narrow, and it can be dimmed.",
    "The wool blanket is the warmest one we have, and the cotton blanket is the one for the washing machine.",
    "A candle or the field notebook is what most people choose as a gift.",
)
_POOR_ANSWER = "You can find that on our website, or try again later."
_STATES = ("shipped", "delivered", "delivered", "processing", "delivered", "delivered", "delivered")
# Every second order costs more than may be refunded without a person.
_LARGE_EVERY = 2
SLOW_SECONDS = 7.0


@dataclass(frozen=True, slots=True)
class ModelName:
    """What a model is called, and by whom it is offered."""

    provider: str
    model: str


class SimulatedModel(ScriptedModel):
    """Answers in the name of a model of the project."""

    def __init__(self, name: ModelName, reply: Callable[[ModelRequest], Reply]) -> None:
        super().__init__(reply, model=name.model, repeats=True)
        self.provider = self.origin = name.provider


def model_names(known: Sequence[ModelName]) -> tuple[ModelName, ModelName]:
    """Of a project's models the first, and the second as the smaller one below it."""
    large = known[0]
    small = next((each for each in known if each != large), ModelName(large.provider, f"{large.model}-small"))
    return large, small


class SimulatedModels:
    """A large model and the small one below it, under the names of the project's own; their prices are made up."""

    def __init__(self, plan: Plan, clock: Ticks, rng: random.Random, names: Sequence[ModelName]) -> None:
        self._plan = plan
        self._clock = clock
        self._rng = rng
        self._large, self._small = model_names(names)

    def priced(self) -> list[PricedModel]:
        """What they would cost, about as models of their sizes do."""
        prices = ((self._large, "2.5", "10"), (self._small, "0.25", "2"))
        return [
            PricedModel("", name.provider, name.model, DeclaredRates(input=Decimal(given), output=Decimal(said)))
            for name, given, said in prices
        ]

    def chain(self) -> list[ModelTier]:
        large, small = (
            SimulatedModel(name, partial(self._reply, is_large=is_large))
            for name, is_large in ((self._large, True), (self._small, False))
        )
        return [ModelTier("large", large), ModelTier("small", small)]

    def _reply(self, request: ModelRequest, *, is_large: bool) -> Reply:
        seconds = self._plan.seconds_at(self._clock.micros())
        if is_large and self._plan.holds("model_down", seconds):
            self._clock.advance(0.4)
            return Reply(error=ModelUnavailable("the simulated provider is down"))
        if self._plan.holds("model_hangs", seconds):
            # Turns come one after another here: at their full deadline there would be one a minute.
            self._clock.advance(6.0)
            return Reply(error=DeadlineExceeded("the simulated model was slower than the turn's deadline"))
        slow = SLOW_SECONDS if self._plan.holds("slow", seconds) else 0.0
        self._clock.advance(slow + self._rng.lognormvariate(0.2 if is_large else -0.6, 0.45))
        said = Reply(text=_POOR_ANSWER) if self._plan.holds("poor_answers", seconds) else self._said(request)
        return replace(said, usage=self._usage(seconds, is_large=is_large))

    def _said(self, request: ModelRequest) -> Reply:
        knows = any(each.role == "tool" for each in request.messages[-1:])
        tool = next((each for each in request.tools if each.name == "search_products"), None)
        if tool is not None and not knows and self._rng.random() < 0.4:
            return calls((tool.name, {"query": self._rng.choice(("kettle", "blanket", "lamp"))}))
        return Reply(text=self._rng.choice(_ANSWERS))

    def _usage(self, seconds: float, *, is_large: bool) -> Usage:
        times = 25 if is_large and self._plan.holds("costly", seconds) else 1
        return Usage(times * self._rng.randint(900, 2600), self._rng.randint(40, 220), self._rng.randint(0, 600))


class SimulatedTools(ToolRunner):
    """Runs tool calls as ever, but on a made-up shop: no tool of the project is called, so nothing outside changes."""

    def __init__(self, plan: Plan, clock: Ticks, rng: random.Random) -> None:
        super().__init__(most_threads=1)
        self._plan = plan
        self._clock = clock
        self._rng = rng
        self._shop = SimulatedShop()

    async def attempt(
        self, tool: Tool, call: ToolCall, context: ToolContext, *, left_running: LeftRunning | None = None
    ) -> Attempt:
        simulated = replace(tool, function=partial(self._answer, tool.name), is_async=True)
        return await super().attempt(simulated, call, context, left_running=left_running)

    async def reconcile(self, tool: Tool, call: ToolCall, context: ToolContext) -> ToolResult | None:
        """What failed here never happened."""
        return None

    async def _answer(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        seconds = self._plan.seconds_at(self._clock.micros())
        slow = SLOW_SECONDS if self._plan.holds("slow", seconds) else 0.0
        self._clock.advance(slow + self._rng.lognormvariate(-2.0, 0.5))
        if self._plan.holds("tools_down", seconds) or self._rng.random() < 0.004:
            self._clock.advance(1.0)
            raise ToolUnavailable("the simulated shop does not answer")
        return self._shop.answer(name, arguments)


class SimulatedDisk(ExportFolder):
    """Where exports go, with a disk that is full as planned."""

    def __init__(self, folder: ExportFolder, is_full: Callable[[], bool]) -> None:
        super().__init__(folder.path("any").parent)
        self._is_full = is_full

    def append(self, name: str, at: int, lines: Sequence[bytes]) -> int:
        if self._is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path(name)))
        return super().append(name, at, lines)


class SimulatedShop:
    """Says of every order the same each time, until it is changed."""

    def __init__(self) -> None:
        self._changed: dict[str, str] = {}

    def answer(self, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """In the shape of the shop's own tools; of any other tool, that it is done."""
        order_id = str(arguments.get("order_id") or arguments.get("order") or "A1001")
        if tool == "get_order":
            return self._order(order_id)
        if tool == "list_orders":
            return {"orders": [self._order("A1001")]}
        if tool in ("check_stock", "search_products"):
            kettle = {"sku": "KET-08", "name": "Birch kettle", "stock": 12, "price_cents": 3900, "back_on": None}
            return {"product": arguments.get("product"), "products": [kettle]}
        if tool == "get_account":
            return {
                "found": True,
                "name": "Sam Smit",
                "email": "sam@example.com",
                "street": "Kade 1",
                "city": "Utrecht",
            }
        if tool == "refund_order":
            self._changed[order_id] = "refunded"
            paid = {"refund_id": "R5001", "amount_cents": arguments.get("amount_cents"), "paid_with": "Visa"}
            return {"ok": True, "order_id": order_id, **paid}
        if tool == "cancel_order":
            self._changed[order_id] = "cancelled"
            return {"ok": True, "order_id": order_id, "refunded_cents": self._cents(order_id), "paid_with": "Visa"}
        return {"ok": True, "status": "done", **{key: arguments[key] for key in ("email",) if key in arguments}}

    def _order(self, order_id: str) -> Mapping[str, Any]:
        number = int("".join(filter(str.isdigit, order_id)) or 0)
        status = self._changed.get(order_id, _STATES[number % len(_STATES)])
        refundable = self._cents(order_id) if status == "delivered" else 0
        return {
            "found": True,
            "order_id": order_id,
            "status": status,
            "placed_on": "2026-01-05",
            "items": ["Wool blanket"],
            "total_cents": self._cents(order_id),
            "paid_with": "Visa",
            "carrier": "PostNL",
            "tracking": f"3S{number:08}",
            "eta_on": "2026-01-09",
            "delivered_on": "2026-01-08",
            "cancellable": status == "processing",
            "refundable_cents": refundable,
            "why_not_refundable": None if refundable else f"it is {status}",
        }

    def _cents(self, order_id: str) -> int:
        number = int("".join(filter(str.isdigit, order_id)) or 0)
        return 18_900 if number % _LARGE_EVERY == 0 else 2_000 + number % 70 * 100
