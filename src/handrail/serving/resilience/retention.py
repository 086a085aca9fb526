"""Switches that were released long ago."""

from handrail.db import BEFORE, Expiry
from handrail.serving.resilience.tables import switch

OLD_SWITCHES = Expiry(switch, switch.c.released_at < BEFORE)
