"""What reviews say of the agent, on both databases: of the routine sample, weighted, the newest word a turn."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import bindparam, update

from handrail.core import json
from handrail.core.clock import FrozenClock
from handrail.db import Database, Prepared
from handrail.flows.feedback import VerdictWanted, give_verdict
from handrail.flows.scorecard import scorecards
from handrail.flows.scorecard_body import scorecard_body
from handrail.http.routes.feedback import VerdictCreate
from handrail.insight.scorecard import NOTHING, Estimate, weighted_share
from handrail.reports.filters import Filters
from handrail.reports.reviews import reviewed
from handrail.serving.conversations.tables import turn
from tests.flows.test_feedback import RITA
from tests.flows.world import World
from tests.reports.test_scorecard import DAY, OPERATOR, fact, keep

_TRIP = Prepared(update(turn).where(turn.c.id == bindparam("id_")).values(tripped=bindparam("tripped_")))
ROBIN = replace(RITA, subject="robin")


async def talked(world: World, subject: str, turns: int = 1, **given: Any) -> list[tuple[str, str]]:
    """A closed conversation of a user; the ids of it and of each turn."""
    conversation = await world.open()
    ids = [(conversation.id, (await world.say(conversation, "hello"))["id"]) for _ in range(turns)]
    at = world.services.clock.micros()
    await keep(world.services.db, [fact(0, at, conversation_id=conversation.id, subject=subject) | given])
    return ids


async def trip(db: Database, turn_id: str, guardrail: str) -> None:
    """A turn tripped this guardrail."""
    async with db.batch() as batch:
        batch.add(_TRIP, {"id_": turn_id, "tripped_": json.dumps([{"guardrail": guardrail}])})


async def judge(
    world: World, where: tuple[str, str], probability: float, *, by: Any = RITA, sample: Any = "routine", **found: Any
) -> None:
    conversation, turn = where
    await give_verdict(world.services, by, conversation, VerdictWanted(turn, sample, probability, **found))


async def measured(world: World, **narrowed: str) -> Any:
    now = world.services.clock.micros()
    return await reviewed(world.services.db, Filters("default", now - DAY, now + DAY, **narrowed))


def same(found: Estimate, wanted: Estimate) -> bool:
    numbers = zip((found.value, found.low, found.high), (wanted.value, wanted.low, wanted.high), strict=True)
    return all(a == pytest.approx(b) for a, b in numbers) and (found.n, found.clusters) == (wanted.n, wanted.clusters)


class TestReviewed:
    async def test_weighs_each_turn_by_its_chance_and_counts_users_as_one_voice(self, any_world: World) -> None:
        one, two = await talked(any_world, "ana", turns=2)
        three = (await talked(any_world, "bob"))[0]
        four = (await talked(any_world, "ana"))[0]
        await judge(any_world, one, 0.02, intent_correct=True, hallucination=False)
        await judge(any_world, two, 0.5, intent_correct=False)
        await judge(any_world, three, 0.1, intent_correct=True, hallucination=True)
        await judge(any_world, four, 0.25, intent_correct=False, hallucination=False)
        found = await measured(any_world)
        right = weighted_share([[(True, 0.02), (False, 0.5), (False, 0.25)], [(True, 0.1)]])
        assert same(found["intent_accuracy"], right)
        assert found["intent_accuracy"].value == pytest.approx(60 / 66)
        assert same(found["hallucination_rate"], weighted_share([[(False, 0.02), (False, 0.25)], [(True, 0.1)]]))

    async def test_the_newest_word_on_a_turn_holds_whoever_says_it(self, any_world: World) -> None:
        turn = (await talked(any_world, "ana"))[0]
        await judge(any_world, turn, 0.5, intent_correct=True, hallucination=True)
        await judge(any_world, turn, 0.5, intent_correct=False)
        await judge(any_world, turn, 0.5, by=ROBIN, intent_correct=True)
        found = await measured(any_world)
        assert (found["intent_accuracy"].value, found["intent_accuracy"].n) == (1.0, 1)
        assert found["hallucination_rate"] == NOTHING, "what Rita said first was replaced by her later word"

    async def test_leaves_out_what_was_picked_for_a_reason_what_is_pending_and_what_is_of_others(
        self, any_world: World
    ) -> None:
        await judge(any_world, (await talked(any_world, "ana"))[0], 1.0, sample="policy", hallucination=True)
        await judge(any_world, (await talked(any_world, "bob", is_closed=0))[0], 0.5, hallucination=True)
        await judge(any_world, (await talked(any_world, "cleo", agent="other"))[0], 0.5, hallucination=True)
        assert set((await measured(any_world, agent="shop")).values()) == {NOTHING}
        assert (await measured(any_world))["hallucination_rate"].n == 1
        now = any_world.services.clock.micros()
        stranger = Filters("stranger", now - DAY, now + DAY)
        assert set((await reviewed(any_world.services.db, stranger)).values()) == {NOTHING}

    async def test_says_how_often_the_check_of_answers_was_right(self, any_world: World) -> None:
        one, two, fine = await talked(any_world, "ana", turns=3)
        three = (await talked(any_world, "bob"))[0]
        for _, turn_id in (one, two, three):
            await trip(any_world.services.db, turn_id, "grounding")
        await trip(any_world.services.db, fine[1], "links")
        await judge(any_world, one, 0.5, hallucination=True)
        await judge(any_world, two, 0.25, hallucination=False)
        await judge(any_world, three, 0.1, hallucination=True)
        await judge(any_world, fine, 0.5, hallucination=True)
        found = (await measured(any_world))["grounding_precision"]
        assert same(found, weighted_share([[(True, 0.5), (False, 0.25)], [(True, 0.1)]]))
        assert found.n == 3
        assert (await measured(any_world, agent="other"))["grounding_precision"] == NOTHING

    async def test_knows_nothing_of_the_check_until_reviewers_have_looked_at_what_it_found(
        self, any_world: World
    ) -> None:
        turn = (await talked(any_world, "ana"))[0]
        await trip(any_world.services.db, turn[1], "grounding")
        await judge(any_world, turn, 0.5, intent_correct=True)
        assert (await measured(any_world))["grounding_precision"] == NOTHING

    async def test_a_scorecard_tells_them(self, any_world: World, clock: FrozenClock) -> None:
        await judge(any_world, (await talked(any_world, "ana"))[0], 0.5, intent_correct=True)
        clock.advance(60)
        body = scorecard_body(await scorecards(any_world.services, OPERATOR).report("shop"))
        line = next(each for each in body["measures"] if each["key"] == "intent_accuracy")
        assert (line["value"], line["n"], line["users"], line["verdict"]) == (1.0, 1, 1, "no_target")


@pytest.mark.parametrize("probability", [0.0, 5e-324, 9e-7, 1.1, float("nan")])
def test_a_chance_that_would_drown_all_other_words_is_refused(probability: float) -> None:
    with pytest.raises(ValidationError, match="inclusion_probability"):
        VerdictCreate(turn_id="turn_1", sample="routine", inclusion_probability=probability, resolved=True)
