"""What an operator switches off is off here at once, elsewhere at the next look, and after every restart."""

import asyncio

import pytest

from handrail.core.clock import FrozenClock
from handrail.core.errors import NotFound, UsageError
from handrail.core.principal import Principal, Role
from handrail.db import Database
from handrail.delivery.releases import Sources
from handrail.flows.approval import decide
from handrail.flows.leases import sweep
from handrail.flows.releases import LoadedRelease
from handrail.flows.switches import ReleaseInUse, SwitchWanted, doubt, switch_off, switch_on, watch
from handrail.oversight.approvals import ApprovalStatus
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import Reply, calls
from handrail.serving.resilience import SwitchedOff, SwitchKind
from tests.flows.desk import Desk
from tests.flows.world import ANA, PROJECT, World, closed, until, world_over

OPERATOR = Principal("default", "oscar", frozenset({Role.OPERATOR}))
GUARDED = PROJECT | {
    "policies.yaml": PROJECT["policies.yaml"]
    + "approvals:\n- {name: mails, tools: [send_mail], risk: high, expires_after: 2h, reason: a mail}\n"
}


async def off(world: World, kind: SwitchKind, name: str, *, stop_running: bool = False, by: Principal = OPERATOR):
    return await switch_off(world.services, by, SwitchWanted(kind, name, "it pays twice", stop_running=stop_running))


async def another_release(world: World) -> LoadedRelease:
    """A second release, which is stable from now on. Its caller holds it, so that it stays as it is here."""
    files = PROJECT | {"instructions.md": "You are kind.\n"}
    made = await world.services.releases.create(
        "default", Sources({path: each.encode() for path, each in files.items()}), author="test"
    )
    await world.services.releases.use("default", made.id)
    loaded = await world.services.releases.load("default", made.id)
    loaded.head = world.head  # pyright: ignore[reportAttributeAccessIssue]
    loaded.chain = world.release.chain
    return loaded


class TestAName:
    @pytest.mark.parametrize(
        ("kind", "name", "meant"),
        [
            ("tool", "send_male", "did you mean 'send_mail'"),
            ("model", "scripted/modle", "did you mean 'scripted'"),
            ("tool", "x", "known are"),
        ],
    )
    async def test_that_no_release_knows_is_off_all_the_same_and_doubted(
        self, world: World, kind: SwitchKind, name: str, meant: str
    ):
        made = await off(world, kind, name)
        assert meant in (await doubt(world.services, OPERATOR, made) or "")
        assert world.services.switches.find(kind, "default", name) == made

    @pytest.mark.parametrize(("kind", "name"), [("tool", "send_mail"), ("agent", "shop"), ("tenant", "default")])
    async def test_that_is_known_is_not_doubted(self, world: World, kind: SwitchKind, name: str):
        assert await doubt(world.services, OPERATOR, await off(world, kind, name)) is None

    @pytest.mark.parametrize("reason", ["", " ", "\n\t"])
    async def test_is_not_off_without_a_reason(self, world: World, reason: str):
        with pytest.raises(UsageError, match="say why"):
            await switch_off(world.services, OPERATOR, SwitchWanted("tool", "send_mail", reason))


class TestAnAgent:
    async def test_that_is_off_takes_no_turn_and_no_conversation(self, world: World):
        world.script("Hello.", repeats=True)
        conversation = await world.open()
        made = await off(world, "agent", "shop")
        with pytest.raises(SwitchedOff, match="it pays twice"):
            await world.send(conversation, "hello")
        with pytest.raises(SwitchedOff):
            await world.open()
        await switch_on(world.services, OPERATOR, made.id, "mended")
        assert (await world.say(conversation, "hello"))["status"] == "completed"

    async def test_that_is_switched_off_lets_its_turns_end(self, world: World):
        world.script(Reply(text="slowly", delay_seconds=0.2))
        stream = await world.send(await world.open(), "hello")
        await until(lambda: bool(world.model.requests))
        await off(world, "agent", "shop")
        assert (await asyncio.wait_for(stream.wait(), 5))["status"] == "completed"

    async def test_that_is_told_to_stop_has_its_turns_cancelled(self, world: World):
        world.script(Reply(text="never", delay_seconds=30))
        stream = await world.send(await world.open(), "hello")
        await until(lambda: bool(world.model.requests))
        first = await off(world, "agent", "shop")
        again = await off(world, "agent", "shop", stop_running=True)
        assert again.id == first.id
        assert (await asyncio.wait_for(stream.wait(), 5))["status"] == "cancelled"

    async def test_that_is_off_ends_the_turns_that_wait_in_line_with_a_true_word(self, world: World):
        world.script(Reply(text="slowly", delay_seconds=0.3), "never said")
        conversation = await world.open()
        first = await world.send(conversation, "hello")
        second = await world.send(conversation, "and this")
        await off(world, "agent", "shop")
        assert (await asyncio.wait_for(first.wait(), 5))["status"] == "completed"
        ended = await asyncio.wait_for(second.wait(), 10)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "switched_off")
        assert "switched off" in ended["message"]["content"]

    async def test_that_nobody_has_can_t_be_switched_off(self, world: World):
        with pytest.raises(NotFound):
            await off(world, "agent", "nobody")
        with pytest.raises(NotFound):
            await off(world, "agent", "nobody", by=LOCAL_OPERATOR)


class TestATenant:
    async def test_that_is_off_takes_no_turns(self, world: World):
        conversation = await world.open()
        await off(world, "tenant", "default")
        with pytest.raises(SwitchedOff):
            await world.send(conversation, "hello")

    async def test_is_switched_off_by_its_own_people_or_the_local_operator(self, world: World):
        stranger = Principal("evil", "eve", frozenset({Role.ADMIN}))
        with pytest.raises(PermissionDenied):
            await off(world, "tenant", "default", by=stranger)
        with pytest.raises(PermissionDenied):
            await off(world, "tenant", "default", by=ANA)
        made = await off(world, "tenant", "evil", by=LOCAL_OPERATOR)
        assert made.tenant_id == "evil"


class TestATool:
    async def test_that_is_off_is_not_called_and_the_agent_is_told(self, world: World, desk: Desk):
        world.script(calls(("send_mail", {"text": "a"})), "I can't mail now.")
        await off(world, "tool", "send_mail")
        stream = await world.send(await world.open(), "send it")
        assert (await asyncio.wait_for(stream.wait(), 5))["status"] == "completed"
        assert desk.seen == []
        told = [each.content for each in world.model.requests[-1].messages if each.role == "tool"]
        assert "breaker_open" in told[0]
        assert "it pays twice" in told[0]

    async def test_that_is_off_is_not_read_either(self, world: World, desk: Desk):
        desk.acts["get_stock"] = lambda item: 3
        world.script(calls(("get_stock", {"item": "a"})), "I can't look now.")
        await off(world, "tool", "get_stock")
        stream = await world.send(await world.open(), "how many?")
        assert (await asyncio.wait_for(stream.wait(), 5))["status"] == "completed"
        assert desk.seen == []
        told = [each.content for each in world.model.requests[-1].messages if each.role == "tool"]
        assert "get_stock" in told[0]


class TestAModel:
    @pytest.mark.parametrize("name", ["model-1", "scripted/model-1"])
    async def test_that_is_off_is_not_asked_and_the_next_of_its_chain_answers(self, world: World, name: str):
        first, second = world.script_chain(["never said"], ["Hello."])
        await off(world, "model", name)
        assert (await world.say(await world.open(), "hello"))["message"]["content"] == "Hello."
        assert (len(first.requests), len(second.requests)) == (0, 1)

    async def test_that_is_off_without_another_is_told_to_the_user_as_such(self, world: World):
        (only,) = world.script_chain(["never said"])
        await off(world, "model", "model-1")
        ended = await world.say(await world.open(), "hello")
        assert only.requests == []
        assert (ended["status"], ended["error"]["code"]) == ("failed", "model_unavailable")


class TestARelease:
    async def test_that_is_stable_can_t_be_switched_off(self, world: World):
        with pytest.raises(ReleaseInUse):
            await off(world, "release", world.release.id)

    async def test_that_is_off_hands_its_conversations_to_the_stable_one_at_their_next_turn(self, world: World):
        world.script("Hello.", repeats=True)
        conversation = await world.open()
        await world.say(conversation, "hello")
        stable = await another_release(world)
        await off(world, "release", world.release.id)
        told = await world.say(conversation, "hello again")
        assert (told["release_id"], told["moved_from"]) == (stable.id, world.release.id)
        stored = await world.stored(told["id"])
        assert (stored.release_id, stored.moved_from) == (stable.id, world.release.id)
        found = await world.services.conversations.find("default", conversation.id)
        assert found.release_id == stable.id
        assert "moved_from" not in await world.say(conversation, "once more")

    async def test_that_is_off_leaves_its_open_question_behind(self, world: World, desk: Desk):
        world.head.knows("refund A1001", "refund")
        conversation = await world.open()
        await world.say(conversation, "refund A1001")
        assert await world.awaiting(conversation) is not None
        held = await another_release(world)
        await off(world, "release", world.release.id)
        world.script("What do you mean?")
        told = await world.say(conversation, "yes")
        assert told["release_id"] == held.id
        assert desk.seen == []

    async def test_moves_turns_that_wait_in_line(self, world: World):
        world.script(Reply(text="slowly", delay_seconds=0.3), "Hello.")
        conversation = await world.open()
        first = await world.send(conversation, "hello")
        second = await world.send(conversation, "and this")
        stable = await another_release(world)
        await off(world, "release", world.release.id)
        assert (await asyncio.wait_for(first.wait(), 5))["release_id"] == world.release.id
        ended = await asyncio.wait_for(second.wait(), 10)
        assert (ended["release_id"], ended["moved_from"]) == (stable.id, world.release.id)

    async def test_expires_what_waits_for_approval_and_says_so(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ):
        world = await world_over(sqlite_db, clock, project=GUARDED)
        try:
            world.script(calls(("send_mail", {"text": "a"})))
            conversation = await world.open()
            parked = await world.say(conversation, "send it")
            assert parked["status"] == "requires_action"
            held = await another_release(world)
            await off(world, "release", world.release.id)
            (approval,) = await world.services.approvals.of_turn("default", parked["id"])
            assert approval.status is ApprovalStatus.EXPIRED
            assert approval.decision_reason is not None
            assert "was switched off: it pays twice" in approval.decision_reason
            await sweep(world.services)
            await world.settle(parked["id"])
            turn = await world.stored(parked["id"])
            assert (turn.status, turn.error_code) == (TurnStatus.FAILED, "switched_off")
            assert "switched off" in await world.answer(parked["id"])
            assert desk.seen == []
            assert held.id != turn.release_id
        finally:
            await closed(world)


async def test_an_approved_turn_waits_until_its_agent_is_on_again(sqlite_db: Database, clock: FrozenClock, desk: Desk):
    world = await world_over(sqlite_db, clock, project=GUARDED)
    try:
        desk.acts["send_mail"] = lambda text: {"sent": text}
        world.script(calls(("send_mail", {"text": "a"})), "It is sent.")
        parked = await world.say(await world.open(), "send it")
        made = await off(world, "agent", "shop")
        (approval,) = await world.services.approvals.of_turn("default", parked["id"])
        approver = Principal("default", "ada", frozenset({Role.APPROVER}))
        await decide(world.services, approver, approval.id, "approve", fingerprint=approval.fingerprint)
        await sweep(world.services)
        assert desk.seen == []
        await switch_on(world.services, OPERATOR, made.id, None)
        await sweep(world.services)
        await world.settle(parked["id"])
        assert [name for name, _ in desk.seen] == ["send_mail"]
    finally:
        await closed(world)


async def test_is_known_elsewhere_at_the_next_look_and_turns_there_stop(db: Database, clock: FrozenClock, desk: Desk):
    here, there = await world_over(db, clock), await world_over(db, clock)
    try:
        there.script(Reply(text="never", delay_seconds=30))
        stream = await there.send(await there.open(), "hello")
        await until(lambda: bool(there.model.requests))
        made = await off(here, "agent", "shop", stop_running=True)
        await watch(there.services)
        assert (await asyncio.wait_for(stream.wait(), 5))["status"] == "cancelled"
        with pytest.raises(SwitchedOff):
            await there.open()
        await switch_on(here.services, OPERATOR, made.id, None)
        await watch(there.services)
        await there.open()
    finally:
        await closed(here)
        await closed(there)
