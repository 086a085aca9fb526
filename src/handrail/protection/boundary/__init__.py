"""The boundary: what text that nobody vouches for may bring about, which is nothing.

Promise: in a turn whose context holds such text, a call with an effect runs without a person only if the user asked for
that very action and every argument comes from the user's words, the caller's claims or a record they single out; no
wording of the text changes that. Acts before a tool call, after its permission. Depends on nothing outside itself.
Closed: what can't be traced to the user waits for a person.
"""

from handrail.protection.boundary.actions import Action, actions_of
from handrail.protection.boundary.canary import Canary
from handrail.protection.boundary.evidence import Parameter, parameters_of
from handrail.protection.boundary.policy import Call, Situation, Verdict, explained, judge
from handrail.protection.boundary.records import Result, untrusted_texts, without_untrusted
from handrail.protection.boundary.request import Said
from handrail.protection.boundary.schema import BoundaryPolicy, strictest_boundary

__all__ = [
    "Action",
    "BoundaryPolicy",
    "Call",
    "Canary",
    "Parameter",
    "Result",
    "Said",
    "Situation",
    "Verdict",
    "actions_of",
    "explained",
    "judge",
    "parameters_of",
    "strictest_boundary",
    "untrusted_texts",
    "without_untrusted",
]
