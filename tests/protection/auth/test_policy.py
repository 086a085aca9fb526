from dataclasses import dataclass

import pytest

from handrail.core.conditions import NotJudged
from handrail.core.principal import Principal, Role
from handrail.protection.auth import PermissionDenied, decide_tool, owns, require_role

CUSTOMER = Principal("acme", "ann")
APPROVER = Principal("acme", "olga", frozenset({Role.APPROVER}))


@dataclass(frozen=True)
class Rule:
    roles: list[Role]
    when: str | None = None


class TestRequireRole:
    def test_passes_one_who_has_any_of_the_roles(self) -> None:
        require_role(APPROVER, Role.ADMIN, Role.APPROVER)

    @pytest.mark.parametrize("role", [role for role in Role if role is not Role.END_USER])
    def test_no_end_user_is_an_operator_of_any_kind(self, role: Role) -> None:
        with pytest.raises(PermissionDenied, match=f"needs role '{role.value}'.*'ann' has role 'end_user'"):
            require_role(CUSTOMER, role)

    def test_an_admin_is_not_every_role(self) -> None:
        with pytest.raises(PermissionDenied):
            require_role(Principal("acme", "root", frozenset({Role.ADMIN})), Role.APPROVER)


class TestOwns:
    @pytest.mark.parametrize(
        ("tenant_id", "subject", "expected"),
        [("acme", "ann", True), ("acme", "bob", False), ("other", "ann", False), ("acme", "ANN", False)],
    )
    def test_is_the_same_tenant_and_the_same_subject(self, tenant_id: str, subject: str, expected: bool) -> None:
        assert owns(CUSTOMER, tenant_id, subject) is expected


class TestDecideTool:
    def test_allows_an_end_user_a_tool_without_a_rule(self) -> None:
        assert decide_tool(CUSTOMER, "cancel_order", {}).allowed

    def test_refuses_an_operator_a_tool_without_a_rule_and_says_how_to_allow_it(self) -> None:
        decision = decide_tool(APPROVER, "cancel_order", {})

        assert not decision.allowed
        assert "policies.yaml" in decision.reason

    def test_allows_whom_the_rule_names(self) -> None:
        decision = decide_tool(APPROVER, "refund", {"refund": Rule([Role.OPERATOR, Role.APPROVER])})

        assert decision == (True, "'refund' is permitted to role 'approver'")

    def test_a_rule_replaces_the_default_for_end_users(self) -> None:
        decision = decide_tool(CUSTOMER, "refund", {"refund": Rule([Role.APPROVER])})

        assert decision == (False, "'refund' is permitted to role 'approver' and 'ann' has role 'end_user'")

    def test_the_rule_of_another_tool_changes_nothing(self) -> None:
        assert decide_tool(CUSTOMER, "find_order", {"refund": Rule([Role.APPROVER])}).allowed

    def test_refuses_a_principal_without_any_role(self) -> None:
        assert not decide_tool(Principal("acme", "ghost", frozenset()), "find_order", {}).allowed


class TestCondition:
    RULES = {"refund": Rule([Role.END_USER], "args.amount < 100")}

    def test_that_holds_permits(self) -> None:
        assert decide_tool(CUSTOMER, "refund", self.RULES, lambda: True).allowed

    def test_that_does_not_hold_refuses_and_is_told(self) -> None:
        decision = decide_tool(CUSTOMER, "refund", self.RULES, lambda: False)
        assert decision == (False, "'refund' is permitted only when args.amount < 100, which is not so here")

    def test_that_can_not_be_judged_refuses(self) -> None:
        def broken() -> bool:
            raise NotJudged("'amount' is missing")

        for holds in (broken, None):
            decision = decide_tool(CUSTOMER, "refund", self.RULES, holds)
            assert not decision.allowed
            assert "could not be judged" in decision.reason

    def test_does_not_stand_for_the_role(self) -> None:
        assert not decide_tool(APPROVER, "refund", self.RULES, lambda: True).allowed
