from typing import Any

import pytest
from pydantic import ValidationError

from handrail.core.principal import Role
from handrail.oversight.approvals import ApprovalRule, Risk
from handrail.oversight.approvals.schema import seconds


def _rule(**values: Any) -> ApprovalRule:
    return ApprovalRule.model_validate({"name": "large-refund", "when": "args.amount > 100", **values})


class TestApprovalRule:
    def test_asks_one_approver_who_is_not_the_requester_unless_told_otherwise(self) -> None:
        rule = _rule()

        assert (rule.votes, rule.requester_may_approve, rule.risk) == (1, False, Risk.MEDIUM)
        assert rule.approvers.roles == [Role.APPROVER]

    @pytest.mark.parametrize(("risk", "hours"), [("critical", 1), ("high", 4), ("medium", 24), ("low", 72)])
    def test_expires_the_sooner_the_riskier(self, risk: str, hours: int) -> None:
        assert _rule(risk=risk).expires_after_seconds == hours * 3600

    def test_expires_when_it_says(self) -> None:
        assert _rule(risk="critical", expires_after="1h30m").expires_after_seconds == 5400

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ({"approvers": {}}, "nobody could decide"),
            ({"approvers": {"roles": ["end_user"]}}, "an end user can't be an approver"),
            ({"votes": 0}, "greater than or equal to 1"),
            ({"expires_after": "4 hours"}, "should match pattern"),
            ({"expires_after": "0h"}, "should match pattern"),
            ({"expires_after": "31d"}, "longer than 30 days"),
            ({"escalate_after": "1h"}, "go together"),
            ({"escalate_to": "leads"}, "go together"),
            ({"escalate_after": "24h", "escalate_to": "leads"}, "'escalate_after' .24h. is not before"),
            ({"risk": "critical", "remind_after": "60m"}, "'remind_after' .60m. is not before"),
            ({"approver": {"roles": ["approver"]}}, "Extra inputs"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, values: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ValidationError, match=complaint):
            _rule(**values)

    def test_must_say_for_which_calls(self) -> None:
        with pytest.raises(ValidationError, match="say 'tools' or 'when'"):
            ApprovalRule.model_validate({"name": "all"})

    def test_of_named_tools_needs_no_condition(self) -> None:
        assert ApprovalRule.model_validate({"name": "all", "tools": ["close_account"]}).when == "true"


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("5m", 300), ("4h", 14_400), ("2d", 172_800), ("1d1s", 86_401)]
)
def test_durations_are_read_with_their_units(text: str, expected: int) -> None:
    assert seconds(text) == expected
