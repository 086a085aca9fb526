"""Where the product may connect to: one list that every outbound connection passes.

Acts after a name is resolved, and hands out the very addresses it judged: what a name means can't change between the
look and the connection. Private, loopback, link-local, reserved and metadata addresses are refused unless the
deployment declares them. Closed: what can't be judged is not connected to.

`handrail.egress.session` has a client for what is not on the hot path. It loads aiohttp: import it where it is needed.
"""

from handrail.egress.policy import EgressRules, rules_of
from handrail.egress.resolver import Egress, EgressRefused

__all__ = ["Egress", "EgressRefused", "EgressRules", "rules_of"]
