"""What the `privacy:` part of a `policies.yaml` file may say."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from handrail.protection.privacy.handles import TOKEN_KINDS, TokenKind

# What no model needs to read to do its work, and what checks of its own tell from an order number.
DEFAULT_TOKENS: tuple[TokenKind, ...] = ("card", "iban", "ssn")


class PrivacyPolicy(BaseModel):
    """What the model sees of people's identifiers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[TokenKind, ...] = Field(
        default=DEFAULT_TOKENS,
        description="Kinds of identifiers that the model sees as a handle instead: "
        f"{', '.join(TOKEN_KINDS)}. A tool gets their values in parameters that it declares `personal`.",
    )


def token_kinds(policies: Iterable[PrivacyPolicy]) -> frozenset[str]:
    """What is hidden when several policies hold: what any of them hides."""
    return frozenset(kind for each in policies for kind in each.tokens)
