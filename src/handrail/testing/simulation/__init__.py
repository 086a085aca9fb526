"""Simulated traffic: days of made-up users, sent through the real flows while a clock is moved.

What stands outside Handrail is simulated: people, models and the systems behind the tools. All else is what serves
real users. The same seed makes the same days. Nobody outside is called, charged or told.
"""

from handrail.testing.simulation.days import Incident, Plan
from handrail.testing.simulation.run import Report, Simulation
from handrail.testing.simulation.scenarios import DAILY_BUDGET, plan_days, plan_every_rule
from handrail.testing.simulation.systems import SimulatedShop

__all__ = ["DAILY_BUDGET", "Incident", "Plan", "Report", "SimulatedShop", "Simulation", "plan_days", "plan_every_rule"]
