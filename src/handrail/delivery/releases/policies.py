"""What a `policies.yaml` file may say: what protects the deployment, judged apart from behaviour."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from handrail.core.principal import Role


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Permission(_Strict):
    """Who may have a tool called on their behalf."""

    roles: Annotated[list[Role], Field(min_length=1, description="One of these roles is enough.")]
    when: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="CEL condition that must hold too, as in approvals. One that can't be judged does not hold.",
    )


class InputPolicy(_Strict):
    """What is accepted as a user's message."""

    max_characters: int = Field(default=4000, ge=1, le=100_000, description="Longer messages are refused.")


class PoliciesFile(_Strict):
    """Permissions and limits. A tool without an entry may be called for every end user."""

    permissions: dict[str, Permission] = Field(default_factory=dict, description="Tool name -> who may use it.")
    input: InputPolicy = InputPolicy()
