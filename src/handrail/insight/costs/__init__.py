"""Costs: what every model call used and cost, by tenant, agent, release and intent, and how budgets stand.

A call is priced when the model has answered: by the deployment's settings, else the agent project, else the shipped
price list, which a process of its own reads. The row is stored with a batch of its turn; a price that comes later is
given to it in the background. Closed: a turn whose usage
can't be stored is not recorded either. Open: a price that nobody knows leaves the cost empty, which means unknown and
never free, is counted and said, and stops no turn. Budgets are watched here and stop nothing.
"""

from handrail.insight.costs.book import PriceBook, PricedModel
from handrail.insight.costs.budgets import BudgetStatus, Forecast, status_of
from handrail.insight.costs.lines import GROUPS, UsageLine, grouped
from handrail.insight.costs.price_list import PriceList
from handrail.insight.costs.prices import Price
from handrail.insight.costs.retention import OLD_USAGE
from handrail.insight.costs.store import BookedCall, DailyUsage, ModelUsage, Unpriced, UnpricedLine, UsageStore

__all__ = [
    "GROUPS",
    "OLD_USAGE",
    "BookedCall",
    "BudgetStatus",
    "DailyUsage",
    "Forecast",
    "ModelUsage",
    "Price",
    "PriceBook",
    "PriceList",
    "PricedModel",
    "Unpriced",
    "UnpricedLine",
    "UsageLine",
    "UsageStore",
    "grouped",
    "status_of",
]
