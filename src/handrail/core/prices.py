"""What somebody says a model costs, and what may be spent: in an agent project or in the deployment's settings."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=24, decimal_places=18)]


class DeclaredRates(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Dollars = Field(description="US dollars per million input tokens.")
    output: Dollars = Field(description="US dollars per million output tokens.")
    cached: Dollars | None = Field(
        default=None, description="The same for input tokens from the provider's cache; as `input` when left out."
    )


# A model is free only when somebody says so; a price that nobody says is unknown.
DeclaredPrice = Literal["free"] | DeclaredRates


class Budget(BaseModel):
    """What may be spent in a day or a month (UTC), by a tenant or by one agent of it; watched, and stopping nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, description="What alerts and pages call it.")
    usd: Annotated[Decimal, Field(gt=0, le=1_000_000_000, description="US dollars.")]
    period: Literal["day", "month"] = "month"
    tenant: str = Field(default="default", min_length=1)
    agent: str | None = Field(default=None, min_length=1, description="One agent alone.")

    @property
    def micros(self) -> int:
        return int(self.usd * 1_000_000)
