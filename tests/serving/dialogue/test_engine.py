"""Flows as they are played: what is said, asked, called and handed over, turn after turn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from handrail.core.answers import Awaiting, Handoff, Outcome, Said
from handrail.core.errors import TurnPaused
from handrail.core.json import dumps, loads
from handrail.core.messages import Passage, ToolCall, ToolResult
from handrail.core.tools import Tool
from handrail.serving.dialogue import Dialogue, Flow, load_flow


def tool(name: str, effect: Any, *arguments: str) -> Tool:
    parameters = {"type": "object", "properties": {name: {} for name in arguments}, "required": list(arguments)}
    return Tool(name, name, parameters, function=dict, parse=dict, effect=effect)


TOOLS = {
    "get_order": tool("get_order", "read", "order_id"),
    "refund": tool("refund", "write", "order_id", "amount_cents"),
}
REFUND = r"""
name: refund
slots:
  order_id:
    pattern: A\d{4}
    case: upper
    ask: Which order is it?
    hint: That is no order number; one looks like A1001.
    from_message: true
steps:
- collect: order_id
- call: get_order
  with: {order_id: "{{ slots.order_id }}"}
  save: order
- if: order.refundable_cents == 0
  then:
  - say: Order {{ slots.order_id }} can't be refunded.
  - end
- confirm: Refund {{ order.refundable_cents | money }} for {{ slots.order_id }}?
  else:
  - say: All right, {{ slots.order_id }} stays as it is.
- call: refund
  with: {order_id: "{{ slots.order_id }}", amount_cents: "{{ order.refundable_cents }}"}
  save: done
  on_error:
  - say: "It did not work: {{ error.message }}."
  - handoff: {reason: "refund of {{ slots.order_id }} failed", team: payments}
- say: Done, {{ done.refund_id }}.
"""


def flow(text: str = REFUND) -> Flow:
    return load_flow("flows/f.yaml", text, TOOLS)


def yes_no(text: str) -> bool | None:
    return {"yes": True, "no": False}.get(text.lower())


def marked(content: Any, trusted: Sequence[str]) -> Any:
    """Every value that is not trusted, as another one."""
    if not isinstance(content, dict):
        return content
    return {key: value if key in trusted else f"other than {value}" for key, value in content.items()}


class Stage:
    """One conversation with a flow: tools that answer from a table, and everything that was called."""

    def __init__(self, played: Flow, **results: Any) -> None:
        self.flow = played
        self.results = {"get_order": {"refundable_cents": 4900}, "refund": {"refund_id": "R1"}, **results}
        self.calls: list[ToolCall] = []
        self.influenced: list[Sequence[str]] = []
        self.outcome = Outcome("failed")
        self.searched: list[tuple[str, str | None]] = []
        self.passages: list[Passage] = []
        self._turns = 0

    async def says(self, message: str, *, turn_id: str | None = None, awaiting: Awaiting | None = None) -> str:
        """Send `message` and give back what the flow answers; it goes on where it asked."""
        self._turns += 1
        dialogue = Dialogue(self._call, self._search, lambda _q, found: found[0] if found else None, yes_no, marked)
        waits = awaiting or self.outcome.awaiting
        if waits is not None:
            # What waits is stored as JSON between two turns.
            waits = replace(waits, state=loads(dumps(waits.state)))
        turn_id = turn_id or f"turn_{self._turns}"
        events = [
            event async for event in dialogue.run(self.flow, message, turn_id=turn_id, intent="i", awaiting=waits)
        ]
        *said, outcome = events
        assert isinstance(outcome, Outcome)
        self.outcome = outcome
        return "".join(event.text for event in said if isinstance(event, Said))

    async def _call(self, call: ToolCall, influenced: Sequence[str]) -> ToolResult:
        self.calls.append(call)
        self.influenced.append(influenced)
        result = self.results[call.name]
        if isinstance(result, BaseException):
            raise result
        if isinstance(result, ToolResult):
            return result
        return ToolResult(call.id, call.name, dumps(result))

    def _search(self, query: str, source: str | None) -> Sequence[Passage]:
        self.searched.append((query, source))
        return self.passages


def failed(name: str, message: str, status: Any = "failed") -> ToolResult:
    return ToolResult("call_x", name, dumps({"error": {"code": "down", "message": message}}), status)


class TestSlots:
    async def test_takes_the_slot_from_the_first_message(self) -> None:
        stage = Stage(flow())

        assert await stage.says("refund a1001 please") == "Refund €49.00 for A1001?"
        assert loads(stage.calls[0].arguments) == {"order_id": "A1001"}

    async def test_asks_for_what_is_missing_and_goes_on_with_the_answer(self) -> None:
        stage = Stage(flow())

        assert await stage.says("I want a refund") == "Which order is it?"
        assert stage.outcome.result == "asked"
        assert stage.outcome.awaiting is not None
        assert (stage.outcome.awaiting.kind, stage.outcome.awaiting.intent) == ("slot", "i")
        assert await stage.says("it's A1001") == "Refund €49.00 for A1001?"

    async def test_asks_rather_than_choose_between_two(self) -> None:
        assert await Stage(flow()).says("refund A1001 and A1002") == "Which order is it?"

    async def test_gives_the_hint_twice_and_then_hands_over(self) -> None:
        stage = Stage(flow())
        await stage.says("refund")

        answers = [await stage.says(text) for text in ("the blue one", "B7", "dunno")]

        assert answers[0] == answers[1] == "That is no order number; one looks like A1001."
        assert "a person should take over" in answers[2]
        assert stage.outcome.handoff == Handoff("no usable value for 'order_id' after 3 answers")

    async def test_counts_misses_for_each_question_alone(self) -> None:
        slots = "{ask: 'One?', type: integer}"
        stage = Stage(flow(f"name: f\nslots: {{a: {slots}, b: {slots}}}\nsteps: [collect: a, collect: b]\n"))
        for message in ("hi", "x", "x", "1", "x", "x"):
            assert await stage.says(message)
            assert stage.outcome.result == "asked"

        assert await stage.says("2") == ""
        assert stage.outcome.result == "answered"

    async def test_an_optional_slot_can_be_skipped(self) -> None:
        text = """
        name: f
        slots: {reason: {ask: 'Why?', optional: true, default: not said}}
        steps: [collect: reason, say: "Reason: {{ slots.reason }}"]
        """
        stage = Stage(flow(text))
        await stage.says("hello")

        assert await stage.says("skip") == "Reason: not said"

    async def test_a_yes_or_no_slot_is_read_by_the_parser_handed_in(self) -> None:
        text = """
        name: f
        slots: {opened: {ask: 'Is it opened?', type: boolean}}
        steps: [collect: opened, {if: slots.opened, then: [say: Opened.], else: [say: Closed.]}]
        """
        stage = Stage(flow(text))
        await stage.says("hello")

        assert await stage.says("maybe") == "Sorry, I didn't get that. Is it opened?"
        assert await stage.says("no") == "Closed."


class TestLeaving:
    async def test_a_user_who_drops_it_is_told_that_nothing_changed(self) -> None:
        stage = Stage(flow())
        await stage.says("refund")

        assert await stage.says("never mind") == "All right, let's leave it there. Nothing was changed."
        assert stage.outcome == Outcome("answered")

    async def test_does_not_say_that_nothing_changed_when_something_did(self) -> None:
        text = """
        name: f
        slots: {a: {ask: 'One?', type: integer}}
        steps: [{call: refund, with: {order_id: A1, amount_cents: 1}}, collect: a]
        """
        stage = Stage(flow(text))
        await stage.says("go")

        assert await stage.says("cancel") == "All right, let's leave it there."

    @pytest.mark.parametrize("first", ["refund", "refund A1001"])
    async def test_a_user_who_wants_a_person_gets_one_from_any_question(self, first: str) -> None:
        stage = Stage(flow())
        await stage.says(first)

        await stage.says("let me talk to a person")

        assert stage.outcome.handoff == Handoff("the user asked for a person")


class TestConfirm:
    async def test_acts_only_on_a_yes(self) -> None:
        stage = Stage(flow())
        await stage.says("refund A1001")
        assert [call.name for call in stage.calls] == ["get_order"]
        assert stage.outcome.awaiting is not None
        assert stage.outcome.awaiting.kind == "flow_confirm"
        assert stage.outcome.awaiting.arguments_hash

        assert await stage.says("yes") == "Done, R1."
        assert loads(stage.calls[1].arguments) == {"order_id": "A1001", "amount_cents": 4900}

    async def test_a_no_plays_the_other_steps_and_nothing_after_them(self) -> None:
        stage = Stage(flow())
        await stage.says("refund A1001")

        assert await stage.says("no") == "All right, A1001 stays as it is."
        assert stage.outcome == Outcome("answered")
        assert [call.name for call in stage.calls] == ["get_order"]

    async def test_asks_once_more_and_then_takes_it_as_a_no_and_says_so(self) -> None:
        stage = Stage(flow())
        await stage.says("refund A1001")

        assert await stage.says("hmm") == "Please answer yes or no. Refund €49.00 for A1001?"
        assert (await stage.says("well")).startswith("I take that as a no, so I have not done it.")
        assert [call.name for call in stage.calls] == ["get_order"]

    async def test_a_yes_after_the_second_question_still_counts(self) -> None:
        stage = Stage(flow())
        await stage.says("refund A1001")
        await stage.says("hmm")

        assert await stage.says("yes") == "Done, R1."

    @pytest.mark.parametrize("change", [{"slots": {"order_id": "A1002"}}, {"at": "5"}, {"saved": {}}])
    async def test_refuses_a_yes_to_something_that_is_no_longer_the_same(self, change: dict[str, Any]) -> None:
        stage = Stage(flow())
        await stage.says("refund A1001")
        asked = stage.outcome.awaiting
        assert asked is not None
        changed = replace(asked, state={**asked.state, **change})

        await stage.says("yes", awaiting=changed)

        assert [call.name for call in stage.calls] == ["get_order"]
        assert stage.outcome.error_code in ("confirmation_changed", "flow_state_unknown")

    async def test_without_steps_for_a_no_it_says_that_it_leaves_it(self) -> None:
        stage = Stage(flow("name: f\nsteps: [confirm: Sure, {call: get_order, with: {order_id: A1}}]\n"))
        await stage.says("go")

        assert await stage.says("no") == "All right, I won't do that."
        assert stage.calls == []


class TestCalls:
    async def test_the_same_turn_again_makes_the_same_calls(self) -> None:
        first, again, other = Stage(flow()), Stage(flow()), Stage(flow())
        await first.says("refund A1001", turn_id="turn_1")
        await again.says("refund A1001", turn_id="turn_1")
        await other.says("refund A1001", turn_id="turn_2")

        assert first.calls == again.calls
        assert first.calls[0].id.startswith("call_")
        assert first.calls[0].id != other.calls[0].id

    async def test_two_steps_of_one_turn_have_different_ids(self) -> None:
        call = "{call: get_order, with: {order_id: A1}}"
        stage = Stage(flow(f"name: f\nsteps: [{call}, {call}]\n"))

        await stage.says("go")

        assert stage.calls[0].id != stage.calls[1].id

    async def test_a_failed_call_plays_its_own_steps_and_nothing_after_them(self) -> None:
        stage = Stage(flow(), refund=failed("refund", "the bank is closed"))
        await stage.says("refund A1001")

        assert await stage.says("yes") == "It did not work: the bank is closed."
        assert stage.outcome.handoff == Handoff("refund of A1001 failed", "payments")

    async def test_a_failed_call_without_such_steps_is_said_and_handed_over(self) -> None:
        stage = Stage(flow(), get_order=failed("get_order", "no connection"))

        assert "can't reach the system" in await stage.says("refund A1001")
        assert stage.outcome.handoff == Handoff("get_order failed: no connection")

    async def test_never_calls_an_unknown_outcome_a_failure(self) -> None:
        stage = Stage(flow(), refund=failed("refund", "timeout", "unknown"))
        await stage.says("refund A1001")

        said = await stage.says("yes")

        assert "don't know yet whether it went through" in said
        assert "did not work" not in said
        assert stage.outcome.handoff == Handoff("it is not known whether refund took effect")

    async def test_a_pause_passes_through(self) -> None:
        stage = Stage(flow(), get_order=TurnPaused())

        with pytest.raises(TurnPaused):
            await stage.says("refund A1001")

    async def test_a_result_that_is_not_json_is_kept_as_text(self) -> None:
        text = "name: f\nsteps: [{call: get_order, with: {order_id: A1}, save: r}, say: 'Got {{ r }}']\n"

        assert await Stage(flow(text), get_order=ToolResult("c", "get_order", "plain")).says("go") == "Got plain"


class TestEnding:
    async def test_a_branch_can_end_the_flow(self) -> None:
        stage = Stage(flow(), get_order={"refundable_cents": 0})

        assert await stage.says("refund A1001") == "Order A1001 can't be refunded."
        assert stage.outcome == Outcome("answered")

    async def test_a_branch_goes_on_after_itself(self) -> None:
        stage = Stage(
            flow("name: f\nsteps: [{if: 'true', then: [say: One.]}, {if: 'false', then: [end]}, say: Two.]\n")
        )

        assert await stage.says("go") == "One.\n\nTwo."

    async def test_data_the_flow_was_not_written_for_is_said_and_handed_over(self) -> None:
        stage = Stage(flow(), get_order={"found": False})

        assert "something went wrong on my side" in await stage.says("refund A1001")
        assert stage.outcome.result == "handed_off"
        assert stage.outcome.error_code == "flow_expression_failed"
        assert stage.outcome.handoff is not None
        assert stage.outcome.handoff.reason.startswith("flows/f.yaml stopped at step 2: ")

    async def test_a_state_of_another_flow_is_not_played(self) -> None:
        stage = Stage(flow())
        await stage.says("refund")
        other = Stage(flow("name: other\nsteps: [say: Hi.]\n"))

        await other.says("A1001", awaiting=stage.outcome.awaiting)

        assert other.outcome.error_code == "flow_state_unknown"


class TestAnswer:
    RETURNS = Passage("knowledge/returns.md#Window", "Returns: Window", "Within 30 days.", 0.9)

    async def test_quotes_the_knowledge_with_its_source(self) -> None:
        stage = Stage(flow("name: f\nsteps: [{answer: {knowledge: returns.md}}]\n"))
        stage.passages = [self.RETURNS]

        said = await stage.says("how long?")

        assert said == "Within 30 days. (Source: Returns: Window, knowledge/returns.md)"
        assert stage.searched == [("how long?", "knowledge/returns.md")]
        assert stage.outcome == Outcome("answered", sources=("knowledge/returns.md#Window",))

    async def test_says_so_when_nothing_fits(self) -> None:
        stage = Stage(flow("name: f\nsteps: [{answer: {knowledge: true}}, say: More]\n"))

        assert "I'd rather not guess" in await stage.says("what?")
        assert stage.searched == [("what?", None)]
        assert stage.outcome == Outcome("answered")

    async def test_plays_other_steps_when_nothing_fits(self) -> None:
        stage = Stage(
            flow("name: f\nsteps: [{answer: {knowledge: true, query: 'about {{ message }}'}, else: [say: No.]}]\n")
        )

        assert await stage.says("x") == "No."
        assert stage.searched == [("about x", None)]


class TestUntrustedText:
    """An argument that hangs on a field nobody vouches for is named to whoever makes the call."""

    FLOW = """
name: f
steps:
- {call: get_order, with: {order_id: A1}, save: order}
- call: refund
  with: {order_id: "{{ order.id }}", amount_cents: "{{ order.total + 1 }}"}
"""

    async def test_what_hangs_on_it_is_named(self):
        stage = Stage(flow(self.FLOW), get_order={"id": "A1", "total": 5, "note": "hello"})
        await stage.says("go")
        assert stage.influenced == [(), ["order_id", "amount_cents"]]

    async def test_what_the_tool_vouches_for_is_not(self):
        tools = {**TOOLS, "get_order": replace(TOOLS["get_order"], trusted=("total",))}
        stage = Stage(load_flow("flows/f.yaml", self.FLOW, tools), get_order={"id": "A1", "total": 5, "note": "hello"})
        await stage.says("go")
        assert stage.influenced == [(), ["order_id"]]
