"""What the `boundary:` part of a `policies.yaml` file may say."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class BoundaryPolicy(BaseModel):
    """What happens to an action that can't be traced to the user while untrusted text is about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    untraced: Literal["approve", "refuse"] = Field(
        default="approve", description="Whether a person is asked, or it is refused at once."
    )
    teams: list[str] = Field(default_factory=list[str], description="Members of these teams may decide, as approvers.")
    expires_after_seconds: int = Field(
        default=4 * 3600, ge=60, le=30 * 86_400, description="Then it is never executed."
    )


def strictest_boundary(policies: Iterable[BoundaryPolicy]) -> BoundaryPolicy:
    """Of several that all hold, the one that lets least through; the first where they are alike."""
    return max(policies, key=lambda each: each.untraced == "refuse")
