"""Usage that is kept no longer."""

from handrail.db import BEFORE, Expiry
from handrail.insight.costs.tables import model_usage

OLD_USAGE = Expiry(model_usage, model_usage.c.created_at < BEFORE)
