"""Counting all that is written, as a server does in the background."""

from handrail.flows.rollup import catch_up
from handrail.insight.scorecard import DEFAULT_WINDOW_MICROS, Transcript
from tests.flows.world import World


async def window(_: Transcript) -> int:
    return DEFAULT_WINDOW_MICROS


async def count(world: World) -> None:
    while await catch_up(world.services, window):
        pass
