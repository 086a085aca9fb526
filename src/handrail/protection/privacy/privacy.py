"""What the flows hold of this room: how tokens are minted, found and kept."""

from collections.abc import Collection
from dataclasses import dataclass, field

from handrail.protection.privacy.finder import Finder
from handrail.protection.privacy.handles import TOKEN_KINDS, Mint
from handrail.protection.privacy.tokens import Tokens
from handrail.protection.privacy.vault import TokenVault


@dataclass(frozen=True, slots=True)
class Privacy:
    """One deployment's mint and vault, and what it has found in the texts it read last."""

    mint: Mint
    vault: TokenVault
    finder: Finder = field(default_factory=Finder)

    def tokens(self, tenant_id: str, conversation_id: str, kinds: Collection[str] = TOKEN_KINDS) -> Tokens:
        """The tokens of a conversation, for one turn or one reader."""
        return Tokens(self.mint, self.finder, tenant_id, conversation_id, kinds)
