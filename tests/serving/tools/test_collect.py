from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from handrail import ToolContext, tool
from handrail.core.documents import ProjectError
from handrail.core.errors import UsageError
from handrail.core.tools import Tool
from handrail.serving.tools import InvalidArguments, collect


class Line(BaseModel):
    sku: str
    quantity: int = Field(ge=1)


class Speed(enum.StrEnum):
    SLOW = "slow"
    FAST = "fast"


@tool(effect="read", trusted=("status",))
def get_order(order_id: str, context: ToolContext, limit: int = 5) -> dict[str, Any]:
    """Look up one order by
    its number.

    More that a model need not know.

    Args:
        order_id: the number on the receipt,
            such as A1001
        limit (int): how many lines to return

    Returns:
        the order
    """
    return {"order_id": order_id, "limit": limit, "by": context.principal.subject}


@tool
async def refund(
    amount: Annotated[float, Field(gt=0, description="in euros")],
    reason: Literal["damaged", "late"],
    lines: list[Line],
    on: date | None = None,
    speed: Speed = Speed.SLOW,
) -> str:
    """Pay money back."""
    return f"{amount} {reason} {lines} {on} {speed}"


def module(*functions: Callable[..., Any]) -> types.ModuleType:
    made = types.ModuleType("tools")
    for index, function in enumerate(functions):
        setattr(made, f"{function.__name__}_{index}", function)
    return made


def one(function: Callable[..., Any]) -> Tool:
    return next(iter(collect(module(function)).values()))


def problem(function: Callable[..., Any]) -> str:
    with pytest.raises(ProjectError) as error:
        collect(module(function))
    assert len(error.value.problems) == 1
    return str(error.value.problems[0])


class TestTool:
    def test_leaves_the_function_callable_as_before(self):
        assert inspect.isfunction(get_order)
        assert get_order.__name__ == "get_order"

    def test_is_a_write_that_must_not_be_repeated_when_nothing_is_declared(self):
        made = one(refund)
        assert (made.effect, made.idempotent, made.timeout_seconds, made.trusted) == ("write", False, 10.0, ())

    def test_takes_its_name_from_the_mark(self):
        @tool(name="orders-get")
        def get() -> None:
            """Get."""

        assert list(collect(module(get))) == ["orders-get"]

    def test_takes_a_single_trusted_field_as_a_field_not_as_letters(self):
        @tool(trusted="total")
        def get() -> None:
            """Get."""

        assert one(get).trusted == ("total",)

    @pytest.mark.parametrize(
        ("given", "said"),
        [({"effect": "reed"}, "'reed'"), ({"timeout_seconds": 0}, "0.0"), ({"reconcile": "ask"}, "'ask'")],
    )
    def test_refuses_declarations_that_make_no_sense(self, given: Any, said: str):
        with pytest.raises(UsageError, match=said):
            tool(**given)(lambda: None)

    def test_refuses_what_is_not_a_function(self):
        with pytest.raises(UsageError, match="on a function"):
            tool(Line)


class TestCollect:
    def test_finds_marked_functions_only_and_each_once(self):
        def plain() -> None:
            """Not a tool."""

        assert list(collect(module(get_order, plain, refund, refund))) == ["get_order", "refund"]

    def test_describes_the_tool_by_the_first_paragraph(self):
        assert one(get_order).description == "Look up one order by its number."

    def test_describes_arguments_from_the_docstring_and_hides_the_context(self):
        made = one(get_order)
        assert made.context_parameter == "context"
        assert made.parameters == {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "order_id": {"type": "string", "description": "the number on the receipt, such as A1001"},
                "limit": {"type": "integer", "default": 5, "description": "how many lines to return"},
            },
            "required": ["order_id"],
        }

    def test_makes_the_definition_that_models_are_sent(self):
        made = one(get_order)
        assert made.definition == {
            "type": "function",
            "function": {"name": "get_order", "description": made.description, "parameters": made.parameters},
        }

    def test_knows_literals_nested_models_dates_and_defaults(self):
        properties = one(refund).parameters["properties"]
        assert properties["amount"] == {"type": "number", "exclusiveMinimum": 0, "description": "in euros"}
        assert properties["reason"] == {"type": "string", "enum": ["damaged", "late"]}
        assert properties["lines"] == {"type": "array", "items": {"$ref": "#/$defs/Line"}}
        assert properties["on"]["anyOf"] == [{"type": "string", "format": "date"}, {"type": "null"}]
        assert properties["speed"]["default"] == "slow"
        assert one(refund).parameters["required"] == ["amount", "reason", "lines"]

    def test_knows_sync_from_async(self):
        assert (one(get_order).is_async, one(refund).is_async) == (False, True)

    def test_takes_parameters_whose_names_a_pydantic_model_has_itself(self):
        @tool
        def save(copy: str, json: str, model_config: int) -> None:
            """Save."""

        assert one(save).parse({"copy": "a", "json": "b", "model_config": 1}) == {
            "copy": "a",
            "json": "b",
            "model_config": 1,
        }

    def test_names_a_parameter_without_type_with_its_line(self):
        @tool
        def get(order_id) -> None:  # pyright: ignore
            """Get."""

        said = problem(get)
        assert said.startswith(f"{__file__}:{get.__code__.co_firstlineno}: tool 'get'")
        assert "write for example 'order_id: str'" in said

    def test_names_a_missing_docstring(self):
        @tool
        def get() -> None: ...

        assert "no docstring" in problem(get)

    def test_names_arguments_that_cannot_be_described(self):
        @tool
        def get(*parts: str) -> None:
            """Get."""

        @tool
        def put(**parts: str) -> None:
            """Put."""

        @tool
        def look(part: str, /) -> None:
            """Look."""

        assert "'*parts" in problem(get)
        assert "'**parts" in problem(put)
        assert "positional only" in problem(look)

    def test_names_a_type_that_models_cannot_write(self):
        @tool
        def get(when: Callable[[], int]) -> None:
            """Get."""

        @tool
        def put(where: types.ModuleType) -> None:
            """Put."""

        assert "JSON schema" in problem(get)
        assert "can't be checked" in problem(put)

    def test_names_a_type_hint_that_does_not_exist(self):
        @tool
        def get(when: Nowhere) -> None:  # noqa: F821 # pyright: ignore
            """Get."""

        assert "Nowhere" in problem(get)

    def test_names_a_described_argument_that_is_not_there(self):
        @tool
        def get(order_id: str) -> None:
            """Get.

            Args:
                oder_id: misspelled
            """

        assert "'oder_id'" in problem(get)

    @pytest.mark.parametrize("option", ["personal", "free_text"])
    def test_names_an_option_for_what_is_no_parameter(self, option: str):
        @tool(**{option: ("to", "form")})  # pyright: ignore[reportArgumentType, reportCallIssue]
        def write_to(to: str) -> str:
            """Write to somebody."""
            return to

        assert f"{option}='form' is not one of its parameters" in problem(write_to)

    def test_names_a_field_given_as_default(self):
        @tool
        def get(limit: int = Field(gt=0)) -> None:
            """Get."""

        assert "Annotated[TYPE, Field(...)]" in problem(get)

    def test_names_two_tools_of_one_name_and_names_models_refuse(self):
        @tool(name="get order")
        def get() -> None:
            """Get."""

        @tool(name="refund")
        def other() -> None:
            """Other."""

        with pytest.raises(ProjectError) as error:
            collect(module(refund, other, get))
        assert ["another tool" in str(each) or "letters" in str(each) for each in error.value.problems] == [True, True]

    def test_refuses_generators(self):
        @tool
        def get():
            """Get."""
            yield 1

        assert "yields" in problem(get)


def by_phone(order_id: str, context: ToolContext, limit: int = 5) -> str:
    return f"{order_id} {limit} {context.principal.subject}"


class TestLadder:
    def test_of_a_read_may_have_a_function_as_secondary(self):
        @tool(effect="read", secondary=by_phone, last_good_seconds=60, bulkhead=2, retries=0)
        def get(order_id: str, limit: int = 5) -> None:
            """Get."""

        made = one(get)
        assert (made.last_good_seconds, made.bulkhead, made.retries) == (60, 2, 0)
        assert made.secondary is not None
        assert (made.secondary.name, made.secondary.effect) == ("get.by_phone", "read")
        assert made.secondary.context_parameter == "context"

    def test_of_a_read_may_name_another_read(self):
        @tool(effect="read", secondary="get_order")
        def get(order_id: str) -> None:
            """Get."""

        made = collect(module(get, get_order))
        assert made["get"].secondary is made["get_order"]

    @pytest.mark.parametrize(
        ("secondary", "message"),
        [
            ("nobody", "secondary='nobody' is no other tool of this project (known: get_order, refund)"),
            ("get", "secondary='get' is no other tool"),
            ("refund", "secondary 'refund' is a write"),
            ("get_order", "secondary 'get_order' does not take the argument 'colour'"),
            (lambda colour, size: None, "has no type"),
        ],
    )
    def test_names_file_and_line_of_a_secondary_that_can_t_stand_in(self, secondary: Any, message: str):
        @tool(effect="read", secondary=secondary)
        def get(colour: str) -> None:
            """Get."""

        with pytest.raises(ProjectError) as error:
            collect(module(get, get_order, refund))
        assert message in str(error.value.problems[0])
        assert "test_collect.py" in error.value.problems[0].file
        assert error.value.problems[0].line > 0

    def test_names_a_secondary_that_needs_more_than_it_may_get(self):
        @tool(effect="read", secondary=by_phone)
        def get(order_id: str = "A1001") -> None:
            """Get."""

        assert "needs the argument 'order_id', which this tool may be called without" in problem(get)

    @pytest.mark.parametrize(
        ("declared", "message"),
        [
            ({"secondary": "x"}, "secondary is for reads"),
            ({"last_good_seconds": 5}, "last_good_seconds is for reads"),
            ({"retries": 1}, "this one might happen twice"),
            ({"effect": "read", "last_good_seconds": 0}, "must be more than 0"),
            ({"effect": "read", "bulkhead": 0}, "must be at least 1"),
            ({"effect": "read", "retries": -1}, "must be at least 0"),
            ({"effect": "read", "secondary": 5}, "must be the name of a tool or a function"),
        ],
    )
    def test_refuses_what_the_effect_does_not_allow(self, declared: dict[str, Any], message: str):
        with pytest.raises(UsageError, match=message):
            tool(**declared)(by_phone)

    def test_lets_an_idempotent_write_be_tried_again(self):
        @tool(idempotent=True, retries=2)
        def put() -> None:
            """Put."""

        assert one(put).may_repeat


class TestParse:
    def test_takes_numbers_as_models_write_them(self):
        assert one(get_order).parse({"order_id": 1001, "limit": "7"}) == {"order_id": "1001", "limit": 7}

    def test_gives_the_function_real_types(self):
        parsed = one(refund).parse(
            {"amount": "12.5", "reason": "late", "lines": [{"sku": "x", "quantity": 1}], "on": "2026-11-01"}
        )
        assert parsed["amount"] == 12.5
        assert parsed["lines"] == [Line(sku="x", quantity=1)]
        assert parsed["on"] == date(2026, 11, 1)
        assert parsed["speed"] is Speed.SLOW

    @pytest.mark.parametrize("amount", ["NaN", float("nan"), "inf", "-1", 0])
    def test_refuses_amounts_that_would_slip_past_a_comparison(self, amount: Any):
        with pytest.raises(InvalidArguments):
            one(refund).parse({"amount": amount, "reason": "late", "lines": []})

    def test_says_all_that_is_wrong_in_one_sentence(self):
        with pytest.raises(InvalidArguments) as error:
            one(get_order).parse({"limit": "many", "force": True})
        assert str(error.value) == (
            "get_order was not called: 'order_id' is missing; "
            "'limit': input should be a valid integer, unable to parse string as an integer, got 'many'; "
            "'force' is not a parameter (parameters: order_id, limit)"
        )

    def test_does_not_let_a_model_hand_in_the_context(self):
        with pytest.raises(InvalidArguments, match="'context' is not a parameter"):
            one(get_order).parse({"order_id": "A1", "context": {}})

    def test_does_not_let_a_model_use_inner_names(self):
        with pytest.raises(InvalidArguments, match="'p0' is not a parameter"):
            one(get_order).parse({"p0": "A1"})
