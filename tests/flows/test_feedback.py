"""What is said of a conversation: once a person and turn, history kept, by nobody else, gone with the conversation."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from handrail.core.errors import NotFound
from handrail.core.jobs import Task
from handrail.core.principal import Principal, Role
from handrail.db import Conflict, Prepared
from handrail.flows.access_request import told_of
from handrail.flows.erasure import erase
from handrail.flows.feedback import (
    EventWanted,
    FeedbackWanted,
    VerdictWanted,
    feedback_of,
    give_feedback,
    give_verdict,
    newest_feedback,
    record_event,
    verify_hit,
)
from handrail.flows.retention import DAY_MICROS, forget_page
from handrail.insight.feedback import InvalidFeedback
from handrail.insight.feedback.tables import cache_verification, feedback, review_verdict, value_event
from handrail.insight.scorecard.tables import fact_change
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied
from handrail.protection.rate_limits import Rate, RateLimited, RateLimiter
from handrail.serving.conversations import IdempotencyMismatch
from tests.flows.world import ANA, World

UP, DOWN = FeedbackWanted("thumb", 1), FeedbackWanted("thumb", -1, "wrong order")
RITA = Principal("default", "rita", frozenset({Role.REVIEWER}))
OPAL = Principal("default", "opal", frozenset({Role.OPERATOR}))
VERA = Principal("default", "vera", frozenset({Role.VIEWER}))
BOB, STRANGER = Principal("default", "bob"), Principal("evil", "demo-customer")
CANARY = "aubergine-7731"


async def rows(world: World, table: Any) -> list[Any]:
    return list(await world.services.db.scan(Prepared(select(table)), {}))


async def talked(world: World) -> tuple[str, str]:
    """A conversation with one turn: its id and the turn's."""
    conversation = await world.open()
    turn = await world.say(conversation, "hello")
    return conversation.id, turn["id"]


class TestGive:
    async def test_ties_the_word_to_turn_release_and_intent_and_counts_the_conversation_anew(
        self, any_world: World
    ) -> None:
        conversation, turn = await talked(any_world)
        before = len(await rows(any_world, fact_change))
        given, is_new = await give_feedback(any_world.services, ANA, conversation, replace(UP, turn_id=turn))
        assert is_new
        assert (given.turn_id, given.release_id, given.intent) == (turn, any_world.release.id, "chat")
        assert (given.source, given.given_by) == ("user", ANA.subject)
        assert len(await rows(any_world, fact_change)) == before + 1

    async def test_the_same_word_again_changes_nothing(self, any_world: World) -> None:
        conversation, turn = await talked(any_world)
        first, _ = await give_feedback(any_world.services, ANA, conversation, replace(UP, turn_id=turn))
        again, is_new = await give_feedback(any_world.services, ANA, conversation, replace(UP, turn_id=turn))
        assert (again.id, is_new) == (first.id, False)
        assert len(await rows(any_world, feedback)) == 1

    async def test_another_word_replaces_it_and_the_first_stays_on_record(self, any_world: World) -> None:
        conversation, turn = await talked(any_world)
        for wanted in (UP, DOWN, UP):
            await give_feedback(any_world.services, ANA, conversation, replace(wanted, turn_id=turn))
        said = await any_world.services.feedback.of_conversation("default", conversation)
        assert [(each.score, each.replaced_at is None) for each in said] == [(1, False), (-1, False), (1, True)]

    async def test_many_at_once_leave_one_that_holds(self, any_world: World) -> None:
        conversation, turn = await talked(any_world)
        wanted = [replace(FeedbackWanted("csat", score), turn_id=turn) for score in (1, 2, 3, 4, 5)]
        services = any_world.services
        done = await asyncio.gather(
            *(give_feedback(services, ANA, conversation, each) for each in wanted), return_exceptions=True
        )
        assert {type(each) for each in done} <= {tuple, Conflict}
        holding = [each for each in await rows(any_world, feedback) if each["replaced_at"] is None]
        assert len(holding) == 1

    async def test_kinds_turns_and_people_do_not_replace_one_another(self, world: World) -> None:
        conversation, turn = await talked(world)
        await give_feedback(world.services, ANA, conversation, UP)
        await give_feedback(world.services, ANA, conversation, replace(UP, turn_id=turn))
        await give_feedback(world.services, ANA, conversation, FeedbackWanted("nps", 9))
        given, _ = await give_feedback(world.services, RITA, conversation, UP)
        assert (given.source, given.given_by) == ("staff", "rita")
        assert [each["replaced_at"] for each in await rows(world, feedback)] == [None] * 4

    async def test_is_not_for_others_nor_for_viewers(self, world: World) -> None:
        conversation, _ = await talked(world)
        for nobody in (BOB, STRANGER):
            with pytest.raises(NotFound):
                await give_feedback(world.services, nobody, conversation, UP)
        with pytest.raises(PermissionDenied):
            await give_feedback(world.services, VERA, conversation, UP)
        assert await rows(world, feedback) == []

    async def test_a_turn_of_another_conversation_is_not_found(self, world: World) -> None:
        conversation, _ = await talked(world)
        _, elsewhere = await talked(world)
        with pytest.raises(NotFound, match=elsewhere):
            await give_feedback(world.services, ANA, conversation, replace(UP, turn_id=elsewhere))

    async def test_has_a_rate(self, world: World) -> None:
        conversation, _ = await talked(world)
        world.services.feedback_rates = Rate(RateLimiter(world.services.clock, per_minute=1, burst=1))
        await give_feedback(world.services, ANA, conversation, UP)
        with pytest.raises(RateLimited):
            await give_feedback(world.services, ANA, conversation, DOWN)

    async def test_staff_s_word_is_audited_and_the_user_s_own_is_not(self, world: World) -> None:
        conversation, _ = await talked(world)
        await give_feedback(world.services, ANA, conversation, UP)
        before = await audited(world)
        await give_feedback(world.services, RITA, conversation, DOWN)
        assert "feedback.given" not in before
        assert "feedback.given" in await audited(world)


async def audited(world: World) -> set[str]:
    from handrail.protection.audit.tables import audit_record

    await world.services.audit.flush()
    return {each["action"] for each in await rows(world, audit_record)}


class TestReading:
    async def test_users_see_their_own_words_and_staff_see_all_without_personal_data(self, world: World) -> None:
        conversation, _ = await talked(world)
        said = "mail me at ana.lopez@example.com, I am fed up"
        await give_feedback(world.services, ANA, conversation, FeedbackWanted("text", None, said))
        await give_feedback(world.services, RITA, conversation, FeedbackWanted("csat", 2, "not for the user"))
        assert [each["comment"] for each in await feedback_of(world.services, ANA, conversation)] == [said]
        shown = [each["comment"] for each in await feedback_of(world.services, VERA, conversation)]
        assert shown == ["mail me at [email], I am fed up", "not for the user"]
        assert "conversation.read" in await audited(world)

    async def test_the_newest_of_the_tenant_come_in_pages_and_by_kind(self, any_world: World) -> None:
        conversation, _ = await talked(any_world)
        for score in (1, 2, 3):
            await give_feedback(any_world.services, ANA, conversation, FeedbackWanted("csat", score))
        await give_feedback(any_world.services, ANA, conversation, DOWN)
        services = any_world.services
        both = await newest_feedback(services, VERA, None, before=None, limit=10)
        assert [(each.kind, each.score) for each in both] == [("thumb", -1), ("csat", 3)]
        rest = await newest_feedback(services, VERA, None, before=both[0].id, limit=10)
        assert [each.kind for each in rest] == ["csat"]
        assert [each.score for each in await newest_feedback(services, VERA, "csat", before=None, limit=1)] == [3]
        elsewhere = Principal("evil", "root", frozenset({Role.ADMIN}))
        assert await newest_feedback(services, elsewhere, None, before=None, limit=10) == []
        with pytest.raises(PermissionDenied):
            await newest_feedback(services, ANA, None, before=None, limit=10)


class TestEvents:
    KEPT = EventWanted("order_kept", "order-1", 49_900_000, "USD")

    async def test_the_same_key_is_the_same_event_for_good(self, any_world: World) -> None:
        conversation, _ = await talked(any_world)
        first, is_new = await record_event(any_world.services, OPAL, conversation, self.KEPT)
        again, is_new_again = await record_event(any_world.services, OPAL, conversation, self.KEPT)
        assert (is_new, is_new_again, again.id) == (True, False, first.id)
        with pytest.raises(IdempotencyMismatch, match=first.id):
            await record_event(any_world.services, OPAL, conversation, replace(self.KEPT, amount_micros=1))
        other, _ = await talked(any_world)
        assert (await record_event(any_world.services, OPAL, other, self.KEPT))[1]

    async def test_sent_twice_at_once_it_is_there_once(self, any_world: World) -> None:
        conversation, _ = await talked(any_world)
        services = any_world.services
        done = await asyncio.gather(*(record_event(services, OPAL, conversation, self.KEPT) for _ in range(4)))
        assert sum(is_new for _, is_new in done) == 1
        assert len(await rows(any_world, value_event)) == 1

    async def test_amounts_are_whole_millionths_in_the_one_currency(self, any_world: World) -> None:
        conversation, _ = await talked(any_world)
        event, _ = await record_event(
            any_world.services, OPAL, conversation, replace(self.KEPT, amount_micros=-(10**15))
        )
        stored = await any_world.services.feedback.events("default", conversation)
        assert [each.amount_micros for each in stored] == [event.amount_micros] == [-(10**15)]
        with pytest.raises(InvalidFeedback, match="EUR"):
            await record_event(any_world.services, OPAL, conversation, replace(self.KEPT, key="2", currency="EUR"))

    async def test_users_can_t_make_themselves_valuable(self, world: World) -> None:
        conversation, _ = await talked(world)
        for principal in (ANA, RITA, VERA):
            with pytest.raises(PermissionDenied):
                await record_event(world.services, principal, conversation, self.KEPT)
        elsewhere = Principal("evil", "opal", frozenset({Role.OPERATOR}))
        with pytest.raises(NotFound):
            await record_event(world.services, elsewhere, conversation, self.KEPT)


class TestVerdicts:
    async def test_a_later_one_of_the_same_reviewer_replaces_the_earlier(self, any_world: World) -> None:
        conversation, turn = await talked(any_world)
        wanted = VerdictWanted(turn, "routine", 0.02, intent_correct=True)
        await give_verdict(any_world.services, RITA, conversation, wanted)
        await give_verdict(any_world.services, RITA, conversation, replace(wanted, hallucination=True))
        stored = await rows(any_world, review_verdict)
        assert [(each["hallucination"], each["replaced_at"] is None) for each in stored] == [(None, False), (1, True)]
        assert stored[1]["inclusion_probability"] == 0.02

    async def test_is_for_reviewers_and_says_something(self, world: World) -> None:
        conversation, turn = await talked(world)
        wanted = VerdictWanted(turn, "policy", 1.0)
        with pytest.raises(InvalidFeedback):
            await give_verdict(world.services, RITA, conversation, wanted)
        for principal in (ANA, OPAL, VERA):
            with pytest.raises(PermissionDenied):
                await give_verdict(world.services, principal, conversation, replace(wanted, resolved=True))
        assert await rows(world, review_verdict) == []

    async def test_a_cache_hit_has_one_word_that_holds(self, any_world: World) -> None:
        for correct in (True, False):
            await verify_hit(any_world.services, RITA, "hit_1", correct=correct)
        stored = await rows(any_world, cache_verification)
        assert [(each["correct"], each["replaced_at"] is None) for each in stored] == [(1, False), (0, True)]
        with pytest.raises(PermissionDenied):
            await verify_hit(any_world.services, OPAL, "hit_1", correct=True)


class TestGoing:
    async def _said(self, world: World) -> str:
        conversation, turn = await talked(world)
        await give_feedback(world.services, ANA, conversation, FeedbackWanted("text", None, CANARY))
        await record_event(world.services, OPAL, conversation, TestEvents.KEPT)
        await give_verdict(world.services, RITA, conversation, VerdictWanted(turn, "routine", 1.0, resolved=True))
        return conversation

    async def test_the_user_s_export_holds_what_was_said_and_not_which_of_the_staff_said_it(self, world: World) -> None:
        conversation = await self._said(world)
        await give_feedback(world.services, RITA, conversation, DOWN)
        _, line = [each async for each in await told_of(world.services, LOCAL_OPERATOR, ANA.subject)]
        assert CANARY.encode() in line
        assert b"wrong order" in line
        assert b"rita" not in line
        assert b"opal" not in line
        told = json.loads(line)
        assert [each["name"] for each in told["value_events"]] == [TestEvents.KEPT.name]
        assert [each["resolved"] for each in told["review_verdicts"]] == [True]

    async def test_an_erased_user_s_feedback_is_gone(self, any_world: World) -> None:
        await self._said(any_world)
        theirs = await any_world.open(BOB)
        await give_feedback(any_world.services, BOB, theirs.id, UP)
        await erase(any_world.services, LOCAL_OPERATOR, ANA.subject)
        assert [each["given_by"] for each in await rows(any_world, feedback)] == ["bob"]
        for table in (value_event, review_verdict):
            assert await rows(any_world, table) == []

    async def test_retention_takes_it_with_its_conversation_and_verifications_with_their_time(
        self, any_world: World
    ) -> None:
        await self._said(any_world)
        await verify_hit(any_world.services, RITA, "hit_1", correct=True)
        services = any_world.services
        services.background.kept = replace(services.background.kept, conversations=1)
        later = {"at": services.clock.micros() + 2 * DAY_MICROS}
        await forget_page(services, Task("run_1", "default", "retention", {}), later)
        for table in (feedback, value_event, review_verdict, cache_verification):
            assert await rows(any_world, table) == []

    async def test_no_metric_tells_of_a_comment(self, world: World) -> None:
        await self._said(world)
        assert CANARY.encode() not in world.services.metrics.render()
