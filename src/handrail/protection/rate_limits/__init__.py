"""Rate limits: how many turns and conversations a principal may begin, tokens it may use, requests an address has.

Acts when a request arrives, before anything of it is read, and when a message does, before anything of it is stored;
tokens are counted after each call of a model, credentials that do not work after each attempt. With a Valkey server
the count is exact over any number of processes. Open: without it, or while it does not answer, each process counts in
its own memory, so that N replicas allow up to N times the rate; that is counted.
"""

from handrail.protection.rate_limits.addresses import AddressRate
from handrail.protection.rate_limits.leased import LeasedRate
from handrail.protection.rate_limits.limiter import RateLimited, RateLimiter
from handrail.protection.rate_limits.policy import RateDecision, decide, lease_terms
from handrail.protection.rate_limits.rate import Rate
from handrail.protection.rate_limits.shared import SharedRateLimiter

__all__ = [
    "AddressRate",
    "LeasedRate",
    "Rate",
    "RateDecision",
    "RateLimited",
    "RateLimiter",
    "SharedRateLimiter",
    "decide",
    "lease_terms",
]
