"""`policies.yaml` with the parts of every room that protects."""

from pydantic import Field

from handrail.delivery.releases import PoliciesFile
from handrail.oversight.approvals import ApprovalRule
from handrail.protection.boundary import BoundaryPolicy
from handrail.protection.guardrails import GuardrailsPolicy
from handrail.protection.privacy import PrivacyPolicy


class Policies(PoliciesFile):
    """Permissions, limits, checks on what comes in, and what waits for a person."""

    boundary: BoundaryPolicy = BoundaryPolicy()
    approvals: list[ApprovalRule] = Field(
        default_factory=list[ApprovalRule], description="Tool calls that wait until people have approved them."
    )
    guardrails: GuardrailsPolicy = GuardrailsPolicy()
    privacy: PrivacyPolicy = PrivacyPolicy()
