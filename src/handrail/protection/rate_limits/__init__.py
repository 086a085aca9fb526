"""Rate limits: how many turns a principal may begin.

Acts when a message arrives, before anything of it is stored. Can neither fail open nor closed: it counts in this
process's memory and depends on nothing. Each process counts for itself, so N replicas allow up to N times the rate.
"""

from handrail.protection.rate_limits.limiter import RateLimited, RateLimiter
from handrail.protection.rate_limits.policy import RateDecision, decide

__all__ = ["RateDecision", "RateLimited", "RateLimiter", "decide"]
