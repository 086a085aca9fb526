"""Privacy: personal data is found before it goes where it shouldn't, and no log line holds any.

Finds it in messages as they come in, with the question before them, masks every log line last before it is written,
and makes texts that are about nobody. Identifiers become handles in what a model reads, by the kinds that
`policies.yaml` names, and values again in what comes back: in the user's answer, and in the arguments that a tool
declares `personal`. People see handles too, unless they may see more.

Depends on nothing outside the process but the vault's table. Closed: what the log can't read it withholds, and a
handle that can't be told to be this conversation's is never a value.
"""

from handrail.protection.privacy.anonymise import Vocabulary, without_people, without_rare_words, words_of
from handrail.protection.privacy.detector import find_personal_data, find_structured
from handrail.protection.privacy.finder import Finder
from handrail.protection.privacy.handles import LOOK_ALIKE, Mint, handles_in, without_handles
from handrail.protection.privacy.privacy import Privacy
from handrail.protection.privacy.redaction import redact_event, redact_text
from handrail.protection.privacy.schema import PrivacyPolicy, token_kinds
from handrail.protection.privacy.spans import Kind, Span
from handrail.protection.privacy.tokens import Revealing, Token, Tokens, unrevealed
from handrail.protection.privacy.vault import TokenVault

__all__ = [
    "LOOK_ALIKE",
    "Finder",
    "Kind",
    "Mint",
    "Privacy",
    "PrivacyPolicy",
    "Revealing",
    "Span",
    "Token",
    "TokenVault",
    "Tokens",
    "Vocabulary",
    "find_personal_data",
    "find_structured",
    "handles_in",
    "redact_event",
    "redact_text",
    "token_kinds",
    "unrevealed",
    "without_handles",
    "without_people",
    "without_rare_words",
    "words_of",
]
