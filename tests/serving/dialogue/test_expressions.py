"""Templates and conditions, with data they were and were not written for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.serving.dialogue.expressions import (
    ExpressionFailed,
    ExpressionInvalid,
    condition,
    day,
    money,
    text_template,
    value_template,
)
from tests.declared import only

VALUES = {
    "slots": {"count": 3, "note": None},
    "order": {"total_cents": 123456, "items": ["kettle"], "eta_on": "2026-12-03", "carrier": None},
}


class TestTextTemplate:
    def test_fills_in_and_trims(self) -> None:
        assert text_template(" You have {{ slots.count }}.\n").text(VALUES) == "You have 3."

    def test_says_nothing_for_a_skipped_slot(self) -> None:
        assert text_template("Note: {{ slots.note }}").text(VALUES) == "Note:"

    def test_a_key_of_a_result_wins_over_a_method_of_the_same_name(self) -> None:
        assert text_template("{{ order.items | join }}").text(VALUES) == "kettle"

    @pytest.mark.parametrize("source", ["{{ order.weight }}", "{{ nobody }}", "{{ order.carrier.name }}"])
    def test_an_unknown_name_fails_with_the_template(self, source: str) -> None:
        with pytest.raises(ExpressionFailed, match=r"the template '\{\{ "):
            text_template(source).text(VALUES)

    def test_the_sandbox_keeps_pythons_insides_closed(self) -> None:
        with pytest.raises(ExpressionFailed, match="unsafe"):
            text_template("{{ ''.__class__.__mro__ }}").text(VALUES)

    @pytest.mark.parametrize("source", ["{{ slots.count", "{{ slots.count | shout }}", "{% if %}"])
    def test_what_does_not_compile_is_refused(self, source: str) -> None:
        with pytest.raises(ExpressionInvalid, match="does not compile"):
            text_template(source)

    def test_tells_the_names_it_reads(self) -> None:
        template = text_template("{{ slots.count }} {{ order.total_cents | money }} {{ range(2) | list }}")

        assert template.names == {"slots", "order"}
        assert template.slots == {"count"}


class TestValueTemplate:
    @pytest.mark.parametrize(
        ("source", "value"),
        [
            ("{{ slots.count }}", 3),
            ("{{- slots.count + 1 -}}", 4),
            ("{{ -slots.count }}", -3),
            ("{{ order['items'] }}", ["kettle"]),
            ("{{ slots.note }}", None),
            ("n{{ slots.count }}", "n3"),
            ("{{ slots.count }}{{ slots.count }}", "33"),
            ("plain", "plain"),
        ],
    )
    def test_keeps_the_type_of_a_lone_expression(self, source: str, value: object) -> None:
        assert value_template(source).evaluate(VALUES) == value

    def test_an_unknown_name_fails(self) -> None:
        with pytest.raises(ExpressionFailed, match="weight"):
            value_template("{{ order.weight }}").evaluate(VALUES)


class TestCondition:
    def test_is_true_or_false(self) -> None:
        assert condition("order.total_cents > 10000 && slots.note == null").evaluate(VALUES) is True
        assert condition("'kettle' in order.items && slots.count < 3").evaluate(VALUES) is False

    @pytest.mark.parametrize("source", ["slots.count", "order.weight > 1", "nobody == 1", "slots.note > 1"])
    def test_anything_else_fails_with_the_condition(self, source: str) -> None:
        with pytest.raises(ExpressionFailed, match="the condition"):
            condition(source).evaluate(VALUES)

    def test_what_does_not_compile_is_refused_in_one_line(self) -> None:
        with pytest.raises(ExpressionInvalid) as refused:
            condition("slots.count >")

        assert "not valid CEL" in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_tells_the_names_it_reads_without_those_it_binds(self) -> None:
        expression = condition("orders.exists(o, o.id == slots.order_id) && 'slots.other' != ''")

        assert expression.names == {"orders", "slots"}
        assert expression.slots == {"order_id"}


@pytest.mark.parametrize(
    ("cents", "currency", "written"),
    [(4900, "EUR", "€49.00"), (5, "USD", "$0.05"), (-123456, "EUR", "-€1,234.56"), (100, "CHF", "CHF 1.00")],
)
def test_money_is_written_from_cents(cents: int, currency: str, written: str) -> None:
    assert money(cents, currency) == written


def test_a_day_is_written_as_people_say_it() -> None:
    assert day("2026-12-03") == "3 December 2026"


class TestAnyCondition:
    """A condition comes with a release; whatever it is, the process stays and the error has a name."""

    @given(
        st.text(max_size=40)
        | st.text(alphabet="a.b()[]{}+-*/%!<>=&|?:,'\" 019\\", max_size=40)
        | st.sampled_from(["1/a", "1%a", "b[9]", "9223372036854775807+a", "uint(-1)", "int(1e300)", "-b", "a ? b : c"]),
        st.dictionaries(st.sampled_from(["a", "b", "slots"]), st.none() | st.integers() | st.text(max_size=3)),
    )
    def test_any_text_compiles_or_not_and_gives_true_or_false_or_not(self, source: str, values: dict[str, Any]) -> None:
        with only(ExpressionInvalid, ExpressionFailed):
            assert isinstance(condition(source).evaluate(values), bool)

    @pytest.mark.parametrize(
        "source",
        ["1/a == 1", "1%a == 1", "b[9] == 1", "9223372036854775807 + 1 > a", "int(1e300) == a", "uint(-1) == 1u"],
    )
    def test_arithmetic_that_can_t_be_done_is_an_error_with_a_name(self, source: str) -> None:
        with pytest.raises(ExpressionFailed):
            condition(source).evaluate({"a": 0, "b": [1]})

    @pytest.mark.parametrize(
        "source", ["1+" * 20_000 + "1==1", "a" + ".b" * 20_000, "(" * 5_000, "!" * 9_000 + "a", "a" + "[0]" * 20_000]
    )
    def test_one_that_would_overrun_the_stack_is_refused_by_its_length(self, source: str) -> None:
        with pytest.raises(ExpressionInvalid) as refused:
            condition(source)
        assert len(str(refused.value)) < 500


class TestAnyTemplate:
    @given(
        st.text(max_size=40)
        | st.text(alphabet="a.b()[]{}%+-*/|~,:'\" 019#", max_size=30).map(lambda inner: f"{{{{ {inner} }}}}"),
        st.dictionaries(st.sampled_from(["a", "b", "slots"]), st.none() | st.integers(0, 99) | st.text(max_size=3)),
    )
    def test_any_text_is_a_template_or_not_and_gives_text_or_not(self, source: str, values: dict[str, Any]) -> None:
        for compiled in (text_template, value_template):
            with only(ExpressionInvalid, ExpressionFailed):
                compiled(source).text(values)

    @pytest.mark.parametrize(
        "inner", ["(" * 2_000 + ")" * 2_000, "[" * 300 + "]" * 300, "1" * 5_000, "a" + ".b" * 3_000]
    )
    def test_one_that_is_bottomless_is_refused_or_fails_by_name(self, inner: str) -> None:
        with pytest.raises((ExpressionInvalid, ExpressionFailed)):
            text_template(f"{{{{ {inner} }}}}").text({"a": {}})
