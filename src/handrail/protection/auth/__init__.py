"""Auth: who is calling, and what they may have done for them.

Acts first, before anything of a turn is stored, and again before each tool call. Closed: when the store can't be asked
about a key, the request is refused; a key that was recognised a moment ago goes on working for at most five seconds.
Tokens of an identity provider are refused too once its keys could not be read for longer than a deployment allows;
what verifies them is in `tokens` and `signing_keys`, loaded only where a deployment names an issuer. Sessions of the
console are read at every page: without the store nobody is signed in. An identity provider (`oidc`) is asked when
somebody signs in by it; while it does not answer nobody does, and keys go on.
"""

from handrail.protection.auth.authenticator import LOCAL_OPERATOR, Attempts, Authenticator, Unauthenticated
from handrail.protection.auth.keys import ApiKey, CreatedKey, KeyStore
from handrail.protection.auth.links import CreatedLink, SignInLink, SignInLinks
from handrail.protection.auth.operator import TokenFileExposed, operator_token
from handrail.protection.auth.policy import (
    PermissionDecision,
    PermissionDenied,
    PermissionRule,
    decide_tool,
    owns,
    require_role,
)
from handrail.protection.auth.retention import OLD_KEYS, OLD_LINKS, OLD_SESSIONS
from handrail.protection.auth.scopes import Scope, reads_personal_data, require_narrower, require_scope
from handrail.protection.auth.sessions import Session, SessionLimits, SessionStore
from handrail.protection.auth.visits import IdentityProvider, Visit, use_visit

__all__ = [
    "LOCAL_OPERATOR",
    "OLD_KEYS",
    "OLD_LINKS",
    "OLD_SESSIONS",
    "ApiKey",
    "Attempts",
    "Authenticator",
    "CreatedKey",
    "CreatedLink",
    "IdentityProvider",
    "KeyStore",
    "PermissionDecision",
    "PermissionDenied",
    "PermissionRule",
    "Scope",
    "Session",
    "SessionLimits",
    "SessionStore",
    "SignInLink",
    "SignInLinks",
    "TokenFileExposed",
    "Unauthenticated",
    "Visit",
    "decide_tool",
    "operator_token",
    "owns",
    "reads_personal_data",
    "require_narrower",
    "require_role",
    "require_scope",
    "use_visit",
]
