from dataclasses import replace
from typing import Any

import pytest

from handrail.core.conditions import CallFacts
from handrail.core.documents import ProjectError
from handrail.oversight.approvals import Rules
from tests.oversight.approvals.cases import facts, rules, tool

PAY = replace(
    tool("pay"),
    parameters={
        "type": "object",
        "properties": {
            "amount": {"type": "integer"},
            "to": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}},
            "note": {},
        },
    },
)


def _when(condition: str, extra: str = "") -> Rules:
    return rules(f"approvals:\n  - name: rule\n    when: {condition!r}\n{extra}")


def _matches(condition: str, call: CallFacts) -> bool:
    return bool(_when(condition).matching(call))


def _nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"inner": value}
    return value


class TestMatching:
    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            ("args.amount > 100", True),
            ("args.amount > 150", False),
            ("args.amount >= 150 && tool == 'refund_order'", True),
            ("tool == 'cancel_order'", False),
            ("intent == 'refund'", True),
            ("principal.subject == 'rita' && principal.tenant == 'acme'", True),
            ("'end_user' in principal.roles", True),
            ("'operator' in principal.roles", False),
            ("conversation.channel == 'api' && conversation.turn_count < 5", True),
            ("conversation.id == 'conv_1' && conversation.agent == 'shop'", True),
            ("['a', 'b'].exists(each, each == args.order_id)", False),
            ("type(args.amount) == int", True),
            ("has(args.note)", False),
        ],
    )
    def test_sees_the_call_its_principal_its_conversation_and_the_intent(self, condition: str, expected: bool) -> None:
        assert _matches(condition, facts(amount=150, order_id="A1")) is expected

    @pytest.mark.parametrize("amount", ["150", None, True, [150], {"value": 1}, float("nan"), 10**30, "\ud800"])
    def test_a_value_of_another_kind_is_no_way_past_a_rule(self, amount: object) -> None:
        assert _matches("args.amount > 100", facts(amount=amount))

    @pytest.mark.parametrize(
        ("condition", "said"),
        [
            ("args.amount > 100", "'amount' is missing"),
            ("args.count / 0 > 1", "ZeroDivisionError"),
            ("args.count", "it gave 1, not true or false"),
            ("args.count.startsWith('x')", "RuntimeError"),
        ],
    )
    def test_a_rule_that_fails_matches_and_says_why(self, condition: str, said: str) -> None:
        (match,) = _when(condition).matching(facts(count=1))

        assert "could not be judged" in match.reason
        assert said in match.reason
        assert not match.is_judged

    def test_no_intent_is_no_intent_of_any_name(self) -> None:
        assert not _matches("intent == 'refund'", facts(intent=None))

    def test_nesting_without_end_matches_instead_of_ending_the_process(self) -> None:
        compiled = _when("args.amount > 100")

        (match,) = compiled.matching(facts(amount=1, more=_nested(200_000)))

        assert "nest deeper than 64 levels" in match.reason
        assert compiled.matching(facts(amount=1, more=_nested(63))) == ()

    def test_leaves_other_tools_alone(self) -> None:
        compiled = rules("approvals:\n  - {name: rule, tools: [refund_order], when: 'args.amount > 100'}")

        assert compiled.matching(facts("cancel_order", amount=500)) == ()
        assert compiled.matching(facts("cancel_order", more=_nested(100))) == ()
        assert len(compiled.matching(facts("refund_order", amount=500))) == 1

    def test_gives_every_rule_that_matches_in_their_order(self) -> None:
        compiled = rules(
            "approvals:\n" + "".join(f"  - {{name: r{n}, when: 'args.amount > {n}'}}\n" for n in (1, 5, 3))
        )

        assert [match.rule.name for match in compiled.matching(facts(amount=4))] == ["r1", "r3"]


class TestReason:
    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ("Refund of {{ args.amount }} for {{ principal.subject }}.", "Refund of 150 for rita."),
            ("{{ args.items }}", "2"),
            ("{{ tool }} in {{ conversation.channel }} ({{ intent }})", "refund_order in api (refund)"),
        ],
    )
    def test_is_written_from_the_call(self, template: str, expected: str) -> None:
        compiled = _when("true", f"    reason: {template!r}")

        assert compiled.matching(facts(amount=150, items=2))[0].reason == expected

    def test_names_the_rule_when_there_is_none(self) -> None:
        assert _when("true").matching(facts())[0].reason == "Rule 'rule' asks for an approval of 'refund_order'."

    def test_that_can_not_be_written_still_asks(self) -> None:
        compiled = _when("true", "    reason: '{{ args.amount }}'")

        assert "its reason could not be written" in compiled.matching(facts())[0].reason

    def test_does_not_run_what_a_user_wrote(self) -> None:
        compiled = _when("true", "    reason: 'For {{ args.note }}'")

        assert compiled.matching(facts(note="{{ 7 * 7 }}"))[0].reason == "For {{ 7 * 7 }}"

    def test_is_cut_where_a_user_wrote_a_book(self) -> None:
        reason = _when("true", "    reason: '{{ args.note }}'").matching(facts(note="x" * 5000))[0].reason

        assert (len(reason), reason[-1]) == (500, "…")


class TestCompile:
    @pytest.mark.parametrize(
        ("condition", "complaint"),
        [
            ("args.amount >", "is not valid CEL"),
            ("amount > 100", "reads 'amount', which is not known; use one of: 'args'"),
            ("args.name.lowerAscii() == 'x'", "calls 'lowerAscii', which is not known"),
            ("principal.role == 'x'", "reads 'principal.role', which does not exist; use one of: 'principal.roles'"),
            ("conversation.turns > 1", "reads 'conversation.turns'"),
            ("type(args.amount) == uint", "reads 'uint'"),
        ],
    )
    def test_tells_what_would_fail_at_every_call_with_its_line(self, condition: str, complaint: str) -> None:
        with pytest.raises(ProjectError) as raised:
            _when(condition)

        (problem,) = raised.value.problems
        assert complaint in problem.message
        assert (problem.file, problem.line) == ("policies.yaml", 3)

    @pytest.mark.parametrize(
        "condition",
        [
            "args.lines.exists(line, line.amount > 100)",
            "args.principal.role == 'conversation.turns'",
            "size(args.lines) > 2 || args.name.matches('^a')",
            "timestamp(args.at).getHours() < 8",
        ],
    )
    def test_takes_names_that_a_macro_binds_and_text_that_looks_like_names(self, condition: str) -> None:
        assert len(_when(condition).rules) == 1

    @pytest.mark.parametrize(
        ("template", "complaint"),
        [("{{ amount }}", "names 'amount'; it can name: 'args'"), ("{{ args.amount", "does not compile")],
    )
    def test_tells_of_a_reason_that_can_not_be_written(self, template: str, complaint: str) -> None:
        with pytest.raises(ProjectError, match=complaint):
            _when("true", f"    reason: {template!r}")

    def test_tells_all_problems_of_all_rules_at_once(self) -> None:
        text = "approvals:\n  - name: a\n    when: 'x'\n  - name: a\n    when: 'y >'\n    reason: '{{ z }}'\n"

        with pytest.raises(ProjectError) as raised:
            rules(text)

        assert [problem.line for problem in raised.value.problems] == [3, 4, 5, 6]

    def test_finds_unknown_tools_and_arguments_when_the_tools_are_known(self) -> None:
        tools = {"refund_order": tool("refund_order", "amount", "order_id")}
        text = "approvals:\n  - {name: a, tools: [refund_order], when: args.ammount > 1}\n  - {name: b, tools: [gone]}"

        with pytest.raises(ProjectError) as raised:
            rules(text, tools)

        first, second = (problem.message for problem in raised.value.problems)
        assert "'args.ammount', which does not exist; use one of: 'args.amount', 'args.order_id'" in first
        assert "tool 'gone' does not exist" in second

    @pytest.mark.parametrize(
        ("condition", "complaint"),
        [
            (
                "args.amount > 'much'",
                "compares kinds that can't be compared in calls of 'pay', where amount is integer",
            ),
            ("args.amount", "gives 1, not true or false"),
            ("args.amount + 1", "gives 2, not true or false"),
            ("args.amount.startsWith('x')", "calls a function with what it does not take"),
            ("args.lines[0].price > 'x'", "compares kinds"),
            ("conversation.turn_count > '3'", "compares kinds"),
        ],
    )
    def test_tells_what_can_never_be_judged_by_the_types_of_the_arguments(self, condition: str, complaint: str) -> None:
        text = f"approvals:\n  - name: a\n    tools: [pay]\n    when: {condition!r}"

        with pytest.raises(ProjectError) as raised:
            rules(text, {"pay": PAY})

        (problem,) = raised.value.problems
        assert complaint in problem.message
        assert problem.line == 4

    @pytest.mark.parametrize(
        "condition",
        [
            "args.amount > 100 && args.to == 'x'",
            "args.lines[3].price > 2.5",
            "args.amount / args.amount > 0 || 1 / 0 > 1",
            "args.note > 5",
            "intent == 'refund' && !('admin' in principal.roles)",
            "timestamp(args.to).getHours() < 8",
            "int(args.to) > 5",
            "args.anything.at.all == 1",
        ],
    )
    def test_takes_what_other_values_may_make_true(self, condition: str) -> None:
        text = f"approvals:\n  - {{name: a, tools: [pay], when: {condition!r}}}"
        pay = replace(PAY, parameters={**PAY.parameters, "additionalProperties": True})

        assert len(rules(text, {"pay": pay}).rules) == 1

    def test_does_not_guess_the_arguments_of_tools_it_does_not_know(self) -> None:
        text = "approvals:\n  - {name: a, when: args.anything > 1}"

        assert len(rules(text, {"refund_order": tool("refund_order", "amount")}).rules) == 1
