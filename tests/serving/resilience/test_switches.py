"""What operators switched off, in memory and in the database."""

import pytest

from handrail.core.clock import FrozenClock
from handrail.db import Conflict, Database
from handrail.serving.resilience import (
    EVERYWHERE,
    BreakerOpen,
    Switch,
    Switchboard,
    SwitchedOff,
    SwitchKind,
    SwitchStore,
)


def off(kind: SwitchKind, name: str, tenant: str = "acme", number: int = 1) -> Switch:
    return Switch(f"switch_{number:032x}", tenant, kind, name, "it pays twice", False, "oscar", 1_000)


class TestSwitchboard:
    def test_lets_everything_through_while_nothing_is_off(self) -> None:
        board = Switchboard()
        board.require_agent("acme", "shop")
        board.require_release("acme", "shop", "rel_1")
        board.require_tool("acme", "refund")
        board.require_model("acme", "openai", "large")
        assert not board.is_paused("acme", "shop")

    @pytest.mark.parametrize(
        ("kind", "name", "code"),
        [("agent", "shop", "switched_off"), ("tenant", "acme", "switched_off"), ("release", "rel_1", "switched_off")],
    )
    def test_refuses_turns_with_the_operator_s_reason(self, kind: SwitchKind, name: str, code: str) -> None:
        board = Switchboard()
        board.show([off(kind, name)])
        with pytest.raises(SwitchedOff, match="it pays twice") as refused:
            board.require_release("acme", "shop", "rel_1")
        assert (refused.value.code, refused.value.retryable) == (code, True)
        board.require_release("other", "shop", "rel_1")

    def test_a_tool_that_is_off_is_an_open_breaker_for_its_tenant_alone(self) -> None:
        board = Switchboard()
        board.show([off("tool", "refund")])
        with pytest.raises(BreakerOpen, match="it pays twice") as refused:
            board.require_tool("acme", "refund")
        assert refused.value.forced
        assert refused.value.retry_after_seconds is None
        board.require_tool("other", "refund")
        board.require_tool("acme", "get_order")

    @pytest.mark.parametrize("name", ["large", "openai/large"])
    def test_a_model_that_is_off_is_meant_by_its_name_with_or_without_its_provider(self, name: str) -> None:
        board = Switchboard()
        board.show([off("model", name, EVERYWHERE)])
        with pytest.raises(BreakerOpen):
            board.require_model("anybody", "openai", "large")
        board.require_model("anybody", "openai", "small")

    def test_what_holds_everywhere_holds_for_every_tenant(self) -> None:
        board = Switchboard()
        board.show([off("agent", "shop", EVERYWHERE)])
        assert board.is_paused("acme", "shop")
        assert board.is_paused("other", "shop")

    def test_says_what_is_new_and_forgets_what_is_on_again(self) -> None:
        board, first, second = Switchboard(), off("tool", "a", number=1), off("tool", "b", number=2)
        assert board.show([first]) == [first]
        assert board.show([first, second]) == [second]
        assert board.all() == [second, first]
        assert board.show([]) == []
        board.require_tool("acme", "a")


class TestSwitchStore:
    @pytest.fixture
    def store(self, db: Database) -> SwitchStore:
        return SwitchStore(db)

    async def test_keeps_who_when_and_why_and_deletes_nothing(
        self, db: Database, store: SwitchStore, clock: FrozenClock
    ) -> None:
        new, began = off("agent", "shop"), clock.micros()
        async with db.batch() as batch:
            store.switch_off(batch, new)
        (known,) = await store.off()
        assert (known.reason, known.switched_by, known.created_at) == ("it pays twice", "oscar", began)
        clock.advance(60)
        async with db.batch() as batch:
            store.switch_on(batch, known, by="ada", reason="mended")
        assert await store.off() == []
        (ended,) = await store.newest("acme", limit=9, ended_too=True)
        assert (ended.released_by, ended.release_reason) == ("ada", "mended")
        assert ended.released_at == began + 60_000_000

    async def test_is_off_once_however_many_say_so(self, db: Database, store: SwitchStore) -> None:
        async with db.batch() as batch:
            store.switch_off(batch, off("tool", "refund", number=1))
        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.switch_off(batch, off("tool", "refund", number=2))
        async with db.batch() as batch:
            store.switch_off(batch, off("tool", "refund", "other", number=3))
        assert len(await store.off()) == 2

    @pytest.mark.parametrize("tenant", ["acme", None])
    async def test_stays_in_the_list_however_many_newer_ones_have_ended(
        self, db: Database, store: SwitchStore, tenant: str | None
    ) -> None:
        async with db.batch() as batch:
            store.switch_off(batch, off("tool", "refund", number=1))
        for number in range(2, 6):
            newer = off("tool", "mail", number=number)
            async with db.batch() as batch:
                store.switch_off(batch, newer)
            async with db.batch() as batch:
                store.switch_on(batch, newer, by="ada", reason=None)
        assert [each.name for each in await store.newest(tenant, limit=2)] == ["refund"]
        assert {each.name for each in await store.newest(tenant, limit=2, ended_too=True)} == {"mail"}

    async def test_can_be_switched_on_once(self, db: Database, store: SwitchStore) -> None:
        new = off("tool", "refund")
        async with db.batch() as batch:
            store.switch_off(batch, new)
        async with db.batch() as batch:
            store.switch_on(batch, new, by="ada", reason=None)
        with pytest.raises(Conflict):
            async with db.batch() as batch:
                store.switch_on(batch, new, by="bob", reason=None)

    async def test_shows_a_tenant_its_own_and_what_holds_everywhere(self, db: Database, store: SwitchStore) -> None:
        everywhere = off("tool", "refund", EVERYWHERE, number=3)
        async with db.batch() as batch:
            for each in (off("tool", "refund", number=1), off("tool", "refund", "other", number=2), everywhere):
                store.switch_off(batch, each)
        assert [each.tenant_id for each in await store.newest("acme", limit=9)] == ["*", "acme"]
        assert len(await store.newest(None, limit=9)) == 3
        assert await store.find("acme", off("tool", "refund", "other", number=2).id) is None
        found = await store.find("acme", everywhere.id)
        assert found is not None
        assert found.holds_for("acme")
