"""Mistakes in a flow file are found when it is loaded, each with its line."""

from collections.abc import Mapping
from typing import Any

import pytest

from handrail.core.documents import ProjectError
from handrail.core.tools import Tool
from handrail.serving.dialogue import load_flow


def tool(name: str, *required: str, optional: tuple[str, ...] = (), effect: Any = "read") -> Tool:
    properties = {argument: {"type": "string"} for argument in (*required, *optional)}
    parameters: Mapping[str, Any] = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name, name, parameters, function=dict, parse=dict, effect=effect)


TOOLS = {"get_order": tool("get_order", "order_id", optional=("verbose",))}
SLOT = "slots: {order_id: {ask: 'Which order?'}}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ProjectError) as refused:
        load_flow("flows/f.yaml", text, TOOLS, knowledge_files=["knowledge/returns.md"])
    return [str(problem) for problem in refused.value.problems]


def steps(*lines: str) -> str:
    return "name: f\n" + SLOT + "steps:\n- collect: order_id\n" + "\n".join(lines) + "\n"


class TestLoadFlow:
    def test_gives_every_step_a_lasting_place(self) -> None:
        flow = load_flow(
            "flows/f.yaml",
            steps(
                "- call: get_order",
                "  with: {order_id: '{{ slots.order_id }}', verbose: 'yes'}",
                "  save: order",
                "  on_error: [{say: '{{ error.message }}'}]",
                "- if: order.late",
                "  then: [{say: Late.}]",
                "- end",
            ),
            TOOLS,
        )

        assert list(flow.nodes) == ["0", "1.on_error.0", "1", "2.then.0", "2", "3"]
        assert flow.nodes["2.then.0"].next == "3"
        assert flow.nodes["1.on_error.0"].next is None, "what follows a failed call can't rest on its result"
        assert flow.saves == {"order"}

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("- collect: oder_id", "slot 'oder_id' is not known; check its spelling (known: order_id)"),
            ("- call: get_oder", "tool 'get_oder' is not known; check its spelling (known: get_order)"),
            ("- call: get_order", "get_order needs the argument 'order_id'; add it under 'with'"),
            ("- say: '{{ order.id }}'", "name 'order' is not known; save a tool's result under it first"),
            ("- say: '{{ slots.id }}'", "slot 'id' is not known"),
            ("- say: '{{ slots.order_id'", "does not compile"),
            ("- {if: 'order.late', then: [end]}", "name 'order' is not known"),
            ("- {if: 'slots.order_id >', then: [end]}", "not valid CEL"),
            ("- {if: 'slots.id == 1', then: [end]}", "slot 'id' is not known"),
            ("- say: '{{ error.message }}'", "name 'error' is not known"),
            ("- answer: {knowledge: refunds.md}", "knowledge file 'refunds.md' is not known"),
            ("- {say: Hi., confirm: Sure}", "exactly one of"),
            ("- {}", "this one has none"),
            ("- {say: Hi., else: [end]}", "'else' belongs to 'if' or 'confirm' or 'answer', not to 'say'"),
            ("- if: 'true'", "'if' needs 'then'"),
            ("- shout: Hi.", "'steps.1.shout' is not known here"),
        ],
    )
    def test_names_the_line_and_the_mend(self, line: str, message: str) -> None:
        (problem,) = problems(steps(line))

        assert problem.startswith("flows/f.yaml:5: ")
        assert message in problem

    def test_wants_the_age_said_of_a_value_that_is_old(self) -> None:
        call = ("- call: get_order", "  with: {order_id: a}")
        (problem,) = problems(steps(*call, "  stale: It is old."))
        assert "flows/f.yaml:7: 'stale' must say how old the value is" in problem
        (problem,) = problems(steps("- say: hello", "  stale: '{{ age }}'"))
        assert "'stale' belongs to 'call'" in problem

    def test_finds_problems_inside_branches_at_their_own_line(self) -> None:
        found = problems(
            steps(
                "- call: get_order",
                "  with:",
                "    order_id: '{{ slots.order }}'",
                "    colour: red",
                "  save: slots",
                "  on_error:",
                "  - say: fine",
                "  - call: nothing",
            )
        )

        assert [problem.split(": ")[0] for problem in found] == [f"flows/f.yaml:{line}" for line in (8, 7, 12, 9)]

    @pytest.mark.parametrize(
        ("slot", "message"),
        [
            ("{ask: Which, pattern: '('}", "is not a regular expression"),
            ("{ask: Which, type: integer, pattern: x}", "'pattern' is for strings"),
            ("{ask: Which, type: choice}", "give both or neither"),
            ("{ask: Which, choices: [a]}", "give both or neither"),
            ("{ask: Which, from_message: true}", "needs a way to find the value"),
            ("{ask: Which, default: x}", "add 'optional: true'"),
            ("{ask: Which, typ: string}", "not known here"),
            ("{type: string}", "'slots.order_id.ask' is missing"),
            ("{ask: '{{ nobody }}'}", "name 'nobody' is not known"),
            ("{ask: Which, hint: '{{ slots.nobody }}'}", "slot 'nobody' is not known"),
        ],
    )
    def test_checks_slots(self, slot: str, message: str) -> None:
        (problem,) = problems(f"name: f\nslots:\n  order_id: {slot}\nsteps:\n- collect: order_id\n")

        assert problem.startswith("flows/f.yaml:3: ")
        assert message in problem

    def test_a_slot_that_is_never_collected_is_a_mistake(self) -> None:
        assert problems("name: f\n" + SLOT + "steps: [{say: Hi.}]\n") == [
            "flows/f.yaml:2: slot 'order_id' is never collected; add a 'collect' step or remove it"
        ]

    def test_refuses_a_flow_that_is_too_long_to_be_played_in_one_turn(self) -> None:
        said = "\n".join(["- say: Hi."] * 201)

        assert "at most 200 steps" in problems(f"name: f\nsteps:\n{said}\n")[0]

    def test_a_branch_may_use_what_was_saved_before_it(self) -> None:
        text = steps(
            "- call: get_order",
            "  with: {order_id: '{{ slots.order_id }}'}",
            "  save: order",
            "- if: order.late",
            "  then: [{say: '{{ order.id }}'}]",
        )

        assert load_flow("flows/f.yaml", text, TOOLS).name == "f"
