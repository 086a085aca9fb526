"""The shop's own system and the tools on it: whose data is seen, and that a change happens once."""

import sqlite3
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from handrail.core.deadline import Deadline
from handrail.core.principal import Principal
from handrail.core.tools import Tool, ToolContext
from handrail.delivery.releases import Loader, read_sources
from handrail.flows.project import check
from handrail.serving.tools import collect
from tests.examples.project import SHOP, load_module

ROBIN = Principal("default", "demo-customer")
ALEX = Principal("default", "other-customer")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HANDRAIL_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="module")
def tools_module() -> Iterator[ModuleType]:
    with load_module("tools") as module:
        yield module


@pytest.fixture
def shop(tools_module: ModuleType) -> Any:
    return tools_module.shop


@pytest.fixture
def tools(tools_module: ModuleType) -> dict[str, Tool]:
    return collect(tools_module)


def context(principal: Principal = ROBIN, key: str = "key_1") -> ToolContext:
    return ToolContext(principal, "conv_1", "turn_1", "call_1", key, "rel_1", Deadline.after(10))


def use(tool: Tool, principal: Principal = ROBIN, key: str = "key_1", **arguments: Any) -> Any:
    """Call a tool the way the runner does."""
    parsed = tool.parse(arguments)
    if tool.context_parameter:
        parsed[tool.context_parameter] = context(principal, key)
    return tool.function(**parsed)


class TestTools:
    def test_reads_and_writes_are_declared_as_what_they_are(self, tools: dict[str, Tool]) -> None:
        writes = {name for name, tool in tools.items() if tool.effect == "write"}

        assert writes == {"refund_order", "cancel_order", "update_email"}
        assert len(tools) == 8
        assert all(tools[name].idempotent and tools[name].reconcile for name in writes)

    def test_every_argument_is_described_to_the_model(self, tools: dict[str, Tool]) -> None:
        for tool in tools.values():
            assert all(schema.get("description") for schema in tool.parameters["properties"].values()), tool.name


class TestWhoseData:
    def test_a_customer_sees_the_own_orders_only(self, tools: dict[str, Tool]) -> None:
        own = {order["order_id"] for order in use(tools["list_orders"])["orders"]}

        assert own == {"A1001", "A1002", "A1003", "A1004", "A1005", "A1006"}
        assert use(tools["get_order"], ALEX, order_id="A2001")["found"]

    def test_another_customers_order_is_as_unknown_as_one_that_does_not_exist(self, tools: dict[str, Tool]) -> None:
        assert use(tools["get_order"], order_id="A2001") == {"found": False, "order_id": "A2001"}
        assert use(tools["get_order"], order_id="A9999") == {"found": False, "order_id": "A9999"}

    @pytest.mark.parametrize("stranger", [Principal("default", "nobody"), Principal("another-tenant", "demo-customer")])
    def test_somebody_without_an_account_sees_nothing(self, tools: dict[str, Tool], stranger: Principal) -> None:
        assert use(tools["get_order"], stranger, order_id="A1001")["found"] is False
        assert use(tools["list_orders"], stranger) == {"orders": []}
        assert use(tools["get_account"], stranger) == {"found": False}

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [("refund_order", {"order_id": "A1003", "amount_cents": 100}), ("cancel_order", {"order_id": "A1002"})],
    )
    def test_nobody_changes_another_customers_order(
        self, tools: dict[str, Tool], name: str, arguments: dict[str, Any]
    ) -> None:
        assert use(tools[name], ALEX, **arguments)["why"] == "there is no such order in this account"
        assert use(tools["get_order"], order_id=arguments["order_id"])["status"] in ("delivered", "processing")


class TestRefund:
    def test_pays_back_what_was_paid(self, tools: dict[str, Tool]) -> None:
        refund = use(tools["refund_order"], order_id="a1003", amount_cents=4995, reason="too thin")

        assert (refund["ok"], refund["amount_cents"], refund["paid_with"]) == (True, 4995, "Visa")
        assert use(tools["get_order"], order_id="A1003")["status"] == "refunded"

    def test_asked_twice_with_one_key_happens_once(self, tools: dict[str, Tool], data: Path) -> None:
        first = use(tools["refund_order"], order_id="A1003", amount_cents=4995)
        second = use(tools["refund_order"], order_id="A1003", amount_cents=4995)

        assert first == second
        with sqlite3.connect(data / "shop.db") as connection:
            assert connection.execute("SELECT count(*) FROM refunds").fetchone() == (1,)
        connection.close()

    def test_another_call_does_not_refund_again(self, tools: dict[str, Tool]) -> None:
        use(tools["refund_order"], order_id="A1003", amount_cents=4995)

        again = use(tools["refund_order"], key="key_2", order_id="A1003", amount_cents=4995)

        assert again == {"ok": False, "order_id": "A1003", "why": "it has been refunded already"}

    @pytest.mark.parametrize(
        ("order_id", "cents", "why"),
        [
            ("A1001", 100, "still on its way"),
            ("A1002", 100, "can be cancelled instead"),
            ("A1005", 100, "more than 30 days ago"),
            ("A1006", 100, "was cancelled"),
            ("A1003", 4996, "not part of what was paid"),
            ("A1003", 0, "not part of what was paid"),
            ("A1003", -5, "not part of what was paid"),
        ],
    )
    def test_is_refused_with_the_reason(self, tools: dict[str, Tool], order_id: str, cents: int, why: str) -> None:
        refused = use(tools["refund_order"], order_id=order_id, amount_cents=cents)

        assert refused["ok"] is False
        assert why in refused["why"]

    @pytest.mark.parametrize(("age", "refundable"), [(30, True), (31, False)])
    def test_the_last_day_is_the_thirtieth(self, shop: Any, age: int, refundable: bool) -> None:
        on = date(2026, 12, 31)
        order = {"status": "delivered", "delivered_on": (on - timedelta(days=age)).isoformat()}

        assert (shop.why_not_refundable(order, on) is None) is refundable

    def test_after_a_timeout_the_shop_tells_whether_it_happened(self, tools: dict[str, Tool]) -> None:
        tool = tools["refund_order"]
        assert tool.reconcile is not None
        arguments = {"order_id": "A1003", "amount_cents": 4995}

        assert tool.reconcile(ctx=context(key="key_9"), **arguments) is None
        made = use(tool, key="key_9", **arguments)
        assert tool.reconcile(ctx=context(key="key_9"), **arguments) == made


class TestCancel:
    def test_stops_an_order_that_is_still_packed(self, tools: dict[str, Tool]) -> None:
        cancelled = use(tools["cancel_order"], order_id="A1002")

        assert (cancelled["ok"], cancelled["refunded_cents"]) == (True, 5900)
        assert use(tools["get_order"], order_id="A1002")["status"] == "cancelled"

    def test_refuses_what_is_on_its_way(self, tools: dict[str, Tool]) -> None:
        assert use(tools["cancel_order"], order_id="A1001")["why"] == "it is shipped already"


class TestAccount:
    def test_changes_the_own_address_only(self, tools: dict[str, Tool]) -> None:
        assert use(tools["update_email"], email="new@example.net") == {"ok": True, "email": "new@example.net"}
        assert use(tools["get_account"])["email"] == "new@example.net"
        assert use(tools["get_account"], ALEX)["email"] == "alex@example.com"

    def test_refuses_what_is_no_address(self, tools: dict[str, Tool]) -> None:
        assert use(tools["update_email"], email="robin@")["why"] == "that is not an e-mail address"


class TestStock:
    def test_finds_by_part_of_the_name_in_singular_and_plural(self, tools: dict[str, Tool]) -> None:
        found = use(tools["check_stock"], product="kettles")["products"]

        assert [(product["name"], product["stock"]) for product in found] == [("Birch kettle", 12), ("Oak kettle", 0)]
        assert found[1]["back_on"] > date.min.isoformat()

    def test_searches_descriptions_too(self, tools: dict[str, Tool]) -> None:
        found = use(tools["search_products"], query="laptop")["products"]

        assert [product["sku"] for product in found] == ["BAG-18"]


def test_its_offline_model_is_free_and_the_one_tool_that_takes_an_address_gets_it() -> None:
    project = check(read_sources(SHOP), Loader())
    assert project.models["offline"].price == "free"
    assert "email" in project.policies.privacy.tokens
    takers = {
        name for name, tool in project.tools.items() if {"email", "phone", "to"} & tool.parameters["properties"].keys()
    }
    assert takers == {name for name, tool in project.tools.items() if tool.personal} == {"update_email"}


class TestDatabase:
    def test_two_that_come_first_at_once_make_one_shop(self, shop: Any, data: Path) -> None:
        seen: list[int] = []

        def look() -> None:
            with shop.connect() as connection:
                seen.append(connection.execute("SELECT count(*) FROM orders").fetchone()[0])

        threads = [threading.Thread(target=look) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert seen == [30] * 6
        assert (data / "shop.db").exists()

    def test_a_change_that_fails_leaves_nothing(self, shop: Any) -> None:
        def work(connection: sqlite3.Connection) -> dict[str, Any]:
            connection.execute("DELETE FROM refunds")
            connection.execute("UPDATE customers SET email = 'gone'")
            raise OSError("the disk is full")

        with pytest.raises(OSError, match="disk"):
            shop.change("key_1", work)

        assert shop.outcome_of("key_1") is None
        with shop.connect() as connection:
            assert shop.customer(connection, "default", "demo-customer")["email"] == "robin@example.com"
