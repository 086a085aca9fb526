from typing import Any

import pytest
from pydantic import ValidationError

from handrail.serving.routing import Intents


def intent(name: str = "refund", **changes: Any) -> dict[str, Any]:
    return {"name": name, "examples": [f"i want a {name}", f"{name} please"], "flow": name, **changes}


def problem(*intents: dict[str, Any], **top: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Intents.model_validate({"intents": list(intents), **top})
    return str(caught.value)


class TestIntents:
    def test_a_full_file_is_read(self) -> None:
        flow = intent(title="get money back", description="d", execute=0.95, confirm=0.5, confirm_question="Refund it?")
        tool = intent("status", flow=None, tool="order_status")
        agent = intent("advice", flow=None, agent=True)

        read = Intents.model_validate({"intents": [flow, tool, agent], "out_of_scope": ["who won the match"]})

        assert [one.spoken for one in read.intents] == ["get money back", "status", "advice"]
        assert read.intents[0].execute == 0.95

    def test_a_name_is_spoken_with_spaces(self) -> None:
        read = Intents.model_validate({"intents": [intent("order_status"), intent("refund")]})

        assert read.intents[0].spoken == "order status"

    @pytest.mark.parametrize("targets", [{"flow": None}, {"tool": "t"}, {"agent": True}, {"tool": "t", "agent": True}])
    def test_an_intent_has_exactly_one_target(self, targets: dict[str, Any]) -> None:
        assert "exactly one of 'flow', 'tool' and 'agent: true'" in problem(intent(**targets), intent("other"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"name": "Refund!"}, "pattern"),
            ({"name": "oos"}, "out of scope; put those examples under 'out_of_scope'"),
            ({"examples": []}, "at least 1"),
            ({"examples": ["   "]}, "at least 1 character"),
            ({"examples": ["?!"]}, "'?!' has no word"),
            ({"examples": ["Hello  there", "hello there"]}, "is given twice"),
            ({"execute": 1.2}, "less than or equal to 1"),
            ({"execute": 0.5, "confirm": 0.7}, "'confirm' (0.7) is above 'execute' (0.5)"),
            ({"examplez": []}, "Extra inputs"),
        ],
    )
    def test_a_wrong_value_is_named(self, change: dict[str, Any], message: str) -> None:
        assert message in problem(intent(**change), intent("other"))

    def test_one_intent_is_too_few(self) -> None:
        assert "at least 2" in problem(intent())

    def test_an_intent_stands_once(self) -> None:
        assert "'refund' is given twice" in problem(intent(), intent())

    def test_an_example_means_one_thing(self) -> None:
        clash = problem(intent(examples=["Money back"]), intent("other", examples=["money  BACK"]))

        assert "'money  BACK' is in 'refund' and in 'other'" in clash

    def test_an_example_is_in_scope_or_out_of_it(self) -> None:
        assert "keep one of them" in problem(intent(), intent("other"), out_of_scope=["Refund please"])
