"""What the audit log holds after things happened, or were refused."""

from typing import Any

import pytest

from handrail.core import json
from handrail.core.principal import Principal, Role
from handrail.flows.audit import denied, read_by_staff
from handrail.flows.audit_desk import AuditDesk, Filter, NotAnExport, read_checkpoints, read_export, verify_export
from handrail.flows.cancel import cancel_turn
from handrail.protection.auth import LOCAL_OPERATOR, PermissionDenied
from handrail.serving.conversations import TurnStatus
from handrail.serving.models import calls
from handrail.serving.models.scripted import Reply
from tests.flows.world import ANA, World, until

ADMIN = Principal("default", "root", frozenset({Role.ADMIN}))


async def found(world: World, **wanted: Any) -> list[dict[str, Any]]:
    await world.services.audit.flush()
    return (await AuditDesk(world.services, LOCAL_OPERATOR).search(Filter(**wanted)))["data"]


class TestToolCall:
    async def test_that_writes_is_recorded_before_and_after_in_its_own_commits(self, world: World) -> None:
        conversation = await world.open()
        world.script(calls(("refund", {"order": "A1001"})), "Done.")
        await world.say(conversation, "refund it")
        ended, began = await _calls(world)
        assert (began["action"], ended["action"], ended["outcome"]) == ("tool_call.began", "tool_call.ended", "done")
        assert began["target"] == ended["target"]
        assert began["details"]["tool"] == "refund"
        assert "A1001" not in json.dumps([began, ended])


async def _calls(world: World) -> list[dict[str, Any]]:
    records = await found(world)
    return [each for each in records if each["action"].startswith("tool_call.")]


class TestDenied:
    async def test_names_who_and_what_and_nothing_that_was_sent(self, world: World) -> None:
        denied(world.services, ANA, "route:GET|/v1/keys", "permission_denied")
        (record,) = await found(world, action="access.denied", actor=ANA.subject)
        assert (record["target"], record["outcome"]) == ("route:GET|/v1/keys", "denied")
        assert ANA.subject not in json.dumps(record)

    async def test_of_a_caller_without_a_key_is_of_no_tenant(self, world: World) -> None:
        denied(world.services, None, "route:GET|/v1/keys", "unauthenticated")
        assert len(await found(world, tenant="unknown")) == 1


class TestRead:
    async def test_by_staff_is_recorded_and_by_the_user_is_not(self, world: World) -> None:
        conversation = await world.open()
        read_by_staff(world.services, ANA, conversation)
        read_by_staff(world.services, ADMIN, conversation)
        assert len(await found(world, action="conversation.read")) == 1


class TestStopping:
    """By staff it is a deed and no reading; a user's own stop is nobody's business."""

    @pytest.mark.parametrize("place", [0, 1])
    async def test_a_turn_that_runs_or_waits_in_line_is_recorded_when_staff_do_it(
        self, world: World, place: int
    ) -> None:
        turn_id = (await two_turns(world))[place]
        for _ in range(2):
            assert (await cancel_turn(world.services, ADMIN, turn_id)).status is TurnStatus.CANCELLED
        (entry,) = await found(world, action="turn.cancelled")
        assert entry["target"] == f"turn:{turn_id}"
        assert await found(world, action="conversation.read") == []

    async def test_by_the_user_is_not(self, world: World) -> None:
        for turn_id in await two_turns(world):
            await cancel_turn(world.services, ANA, turn_id)
        assert await found(world, action="turn.cancelled") == []


async def two_turns(world: World) -> tuple[str, str]:
    """One that runs, and one that waits for it."""
    conversation = await world.open()
    world.script(*(Reply(text="never", delay_seconds=30) for _ in range(2)))
    first, second = await world.send(conversation, "1"), await world.send(conversation, "2")
    await until(lambda: len(world.model.requests) == 1)
    return first.turn_id, second.turn_id


class TestDesk:
    async def test_shows_another_tenant_to_the_local_operator_only(self, world: World) -> None:
        with pytest.raises(PermissionDenied):
            await AuditDesk(world.services, ADMIN).search(Filter(tenant="evil"))

    async def test_exports_what_verifies(self, world: World) -> None:
        export = read_export(await _exported(world, LOCAL_OPERATOR))
        checked = await verify_export(export)
        assert checked.is_intact
        assert checked.records > 0

    async def test_exports_of_other_tenants_only_what_the_proof_needs(self, world: World) -> None:
        denied(world.services, Principal("evil", "eve"), "route:GET|/v1/keys", "permission_denied")
        lines = await _exported(world, ADMIN)
        assert "evil" not in "".join(lines)
        assert (await verify_export(read_export(lines))).is_intact

    async def test_a_changed_line_of_an_export_is_named(self, world: World) -> None:
        lines = await _exported(world, LOCAL_OPERATOR)
        changed = [line.replace("release.used", "release.made") for line in lines]
        checked = await verify_export(read_export(changed))
        assert not checked.is_intact
        assert checked.findings[0].where.startswith("record ")

    async def test_keys_that_came_with_an_export_need_not_be_believed(self, world: World) -> None:
        export = read_export(await _exported(world, LOCAL_OPERATOR))
        assert not (await verify_export(export, public_keys={})).is_intact

    async def test_a_checkpoint_that_was_kept_proves_what_came_before_it(self, world: World) -> None:
        kept = [line for line in await _exported(world, LOCAL_OPERATOR) if '"checkpoint"' in line]
        checked = await verify_export(read_export(await _exported(world, LOCAL_OPERATOR)), kept=read_checkpoints(kept))
        assert checked.proven > 0

    @pytest.mark.parametrize(
        "lines", [[], ["{}"], ["not json"], ['{"type": "record"}'], ['{"type": "header"}'], ["[]"]]
    )
    def test_a_file_that_is_no_export_is_refused(self, lines: list[str]) -> None:
        with pytest.raises(NotAnExport):
            read_export(lines)


async def _exported(world: World, principal: Principal) -> list[str]:
    await world.services.audit.flush()
    await world.services.audit.seal()
    return [line async for line in AuditDesk(world.services, principal).export()]
