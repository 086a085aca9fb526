"""Auth: who is calling, and what they may have done for them.

Acts first, before anything of a turn is stored, and again before each tool call. Closed: when the store can't be asked
about a key, the request is refused; a key that was recognised a moment ago goes on working for at most five seconds.
Tokens of an identity provider are refused too once its keys could not be read for longer than a deployment allows.
"""

from handrail.protection.auth.authenticator import LOCAL_OPERATOR, Authenticator, Unauthenticated
from handrail.protection.auth.keys import ApiKey, CreatedKey, KeyStore
from handrail.protection.auth.operator import TokenFileExposed, operator_token
from handrail.protection.auth.policy import (
    PermissionDecision,
    PermissionDenied,
    PermissionRule,
    decide_tool,
    owns,
    require_role,
)
from handrail.protection.auth.signing_keys import PublicKeys, SharedSecret, SigningKeysUnavailable, reader
from handrail.protection.auth.tokens import TokenVerifier

__all__ = [
    "LOCAL_OPERATOR",
    "ApiKey",
    "Authenticator",
    "CreatedKey",
    "KeyStore",
    "PermissionDecision",
    "PermissionDenied",
    "PermissionRule",
    "PublicKeys",
    "SharedSecret",
    "SigningKeysUnavailable",
    "TokenFileExposed",
    "TokenVerifier",
    "Unauthenticated",
    "decide_tool",
    "operator_token",
    "owns",
    "reader",
    "require_role",
]
