"""Costs: what every model call used, by tenant, agent, release and intent.

Acts at the end of a turn; the rows are stored in the turn's own last batch. Closed: a turn whose usage can't be stored
is not recorded either. There is no price list yet, so `cost_micros` is null, which means unknown and never free.
"""

from handrail.insight.costs.retention import OLD_USAGE
from handrail.insight.costs.store import DailyUsage, ModelUsage, UsageStore

__all__ = ["OLD_USAGE", "DailyUsage", "ModelUsage", "UsageStore"]
