"""The log over both databases: what is stored with what, who seals, and what tampering leaves behind."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.clock import FrozenClock
from handrail.core.errors import HandrailError
from handrail.core.principal import Principal, Role
from handrail.db import Conflict, Database
from handrail.protection.audit import (
    AuditEntry,
    AuditKeys,
    AuditQuery,
    AuditRecord,
    AuditStore,
    AuditTrail,
    Checkpoint,
    Verification,
    verify,
)
from handrail.protection.audit.merkle import Tree, leaf_hash
from tests.protection.audit.tampering import delete_anyway, delete_record, update_record

KEYS = AuditKeys.derived(b"k" * 32)
ANNA = Principal("acme", "anna", frozenset({Role.OPERATOR}))


def entry(number: int = 0, tenant: str = "acme") -> AuditEntry:
    return AuditEntry(tenant, "release.used", "done", f"release:rel_{number}", ANNA, details=(("number", number),))


def trail_over(db: Database, clock: FrozenClock, keys: AuditKeys = KEYS) -> AuditTrail:
    return AuditTrail(db, AuditStore(db), keys, clock)


@pytest.fixture
def trail(db: Database, clock: FrozenClock) -> AuditTrail:
    return trail_over(db, clock)


async def verified(trail: AuditTrail, kept: Iterable[Checkpoint] = ()) -> Verification:
    store = trail.store
    waiting, _ = await store.waiting()
    chain = [each async for each in store.checkpoints()]
    return await verify(store.log(), chain, await store.keys(), kept=kept, unsealed=waiting)


async def written(trail: AuditTrail, count: int) -> None:
    for number in range(count):
        trail.note(entry(number))
    await trail.flush()


class TestRecord:
    async def test_is_stored_with_what_it_records_or_not_at_all(self, db: Database, trail: AuditTrail) -> None:
        async def conflicting() -> None:
            async with db.batch() as batch:
                trail.record(batch, entry())
                trail.store.seal(batch, KEYS.signing.sign(1, 1, b"", "", 0), Tree().grown([b""]), [("aud_none", "")])

        with pytest.raises(Conflict):
            await conflicting()
        assert await trail.store.waiting() == (0, None)

    async def test_is_found_by_its_own_tenant_only(self, trail: AuditTrail) -> None:
        trail.note(entry(1, "acme"))
        trail.note(entry(2, "globex"))
        await trail.flush()
        found = await trail.store.search(AuditQuery("acme"))
        assert [each.target for each in found] == ["release:rel_1"]

    async def test_is_found_by_who_what_and_when(self, trail: AuditTrail, clock: FrozenClock) -> None:
        await written(trail, 2)
        clock.advance(60)
        await written(trail, 1)
        actor = trail.pseudonyms.of("acme", "anna")
        query = AuditQuery("acme", actor=actor, action="release.used", target="release:rel_0", since=clock.micros())
        assert len(await trail.store.search(query)) == 1
        assert await trail.store.search(replace(query, actor=trail.pseudonyms.of("acme", "bob"))) == []

    async def test_pages_newest_first(self, trail: AuditTrail) -> None:
        await written(trail, 5)
        first = await trail.store.search(AuditQuery("acme", limit=3))
        rest = await trail.store.search(AuditQuery("acme", limit=3, before=first[-1].id))
        assert [each.target[-1] for each in (*first, *rest)] == ["4", "3", "2", "1", "0"]


class TestNote:
    async def test_is_dropped_and_counted_when_too_many_wait(
        self, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("handrail.protection.audit.trail.MOST_NOTED", 3)
        for number in range(5):
            trail.note(entry(number))
        assert trail.dropped == 2
        assert await trail.flush() == 3

    async def test_stays_noted_while_the_store_is_down(self, db: Database, clock: FrozenClock) -> None:
        trail = trail_over(db, clock)
        trail.note(entry())
        await db.close()
        with pytest.raises(HandrailError):
            await trail.flush()
        assert len(trail._noted) == 1  # pyright: ignore[reportPrivateUsage]

    async def test_that_repeats_is_one_record_with_a_count(self, trail: AuditTrail) -> None:
        for _ in range(1000):
            trail.note(entry())
        await trail.flush()
        (found,) = await trail.store.search(AuditQuery("acme"))
        assert '"times":1000' in found.body


class TestSeal:
    async def test_chains_what_was_committed(self, trail: AuditTrail) -> None:
        await written(trail, 3)
        first = await trail.seal()
        await written(trail, 2)
        second = await trail.seal()
        assert first is not None
        assert second is not None
        assert (first.size, second.size, second.previous) == (3, 5, first.digest)
        found = await verified(trail)
        assert (found.is_intact, found.records, found.checkpoints) == (True, 5, 2)

    async def test_does_nothing_when_nothing_happened(self, trail: AuditTrail) -> None:
        assert await trail.seal() is None

    async def test_by_many_at_once_seals_each_record_once(self, db: Database, clock: FrozenClock) -> None:
        trails = [trail_over(db, clock) for _ in range(6)]
        for _ in range(4):
            await written(trails[0], 7)
            await asyncio.gather(*(each.seal() for each in trails))
        while await trails[0].seal():
            pass
        found = await verified(trails[0])
        assert (found.is_intact, found.records, found.unsealed) == (True, 28, 0)

    async def test_with_another_key_after_a_move_is_still_one_log(self, db: Database, clock: FrozenClock) -> None:
        for secret in (b"k" * 32, b"l" * 32):
            trail = trail_over(db, clock, AuditKeys.derived(secret))
            await written(trail, 2)
            await trail.seal()
        assert (await verified(trail_over(db, clock))).is_intact


class TestTampering:
    """Whoever holds the database can do anything to it but make it agree with a checkpoint that was kept elsewhere."""

    @pytest.fixture
    async def kept(self, trail: AuditTrail) -> Sequence[Checkpoint]:
        made: list[Checkpoint] = []
        for _ in range(3):
            await written(trail, 4)
            made.append(await trail.seal() or pytest.fail("nothing was sealed"))
        return made

    @pytest.mark.usefixtures("kept")
    async def test_the_schema_itself_refuses_a_change_and_a_deletion(self, db: Database, trail: AuditTrail) -> None:
        with pytest.raises(HandrailError):
            await update_record(db, 3, body="{}")
        with pytest.raises(HandrailError):
            await delete_record(db, 3)
        assert (await verified(trail)).is_intact

    @pytest.mark.usefixtures("kept")
    async def test_an_edited_text_is_named(self, db: Database, trail: AuditTrail) -> None:
        await update_record(db, 5, anyway=True, body='{"action":"nothing"}')
        found = await verified(trail)
        assert "record 5" in found.findings[0].where
        assert "changed after" in found.findings[0].what

    @pytest.mark.usefixtures("kept")
    async def test_an_edited_text_with_its_hash_breaks_the_checkpoints(self, db: Database, trail: AuditTrail) -> None:
        changed = '{"action":"nothing"}'
        await update_record(db, 5, anyway=True, body=changed, leaf=leaf_hash(changed.encode()).hex())
        found = await verified(trail)
        assert {each.where for each in found.findings} >= {"checkpoint 2", "checkpoint 3"}
        assert "checkpoint 1" not in {each.where for each in found.findings}

    @pytest.mark.usefixtures("kept")
    async def test_an_edited_column_is_named(self, db: Database, trail: AuditTrail) -> None:
        await update_record(db, 2, anyway=True, action="nothing.done")
        assert "'action'" in (await verified(trail)).findings[0].what

    @pytest.mark.usefixtures("kept")
    async def test_two_records_that_changed_places_break_the_checkpoint(self, db: Database, trail: AuditTrail) -> None:
        for old, new in ((4, 99), (5, 4), (99, 5)):
            await update_record(db, old, anyway=True, seq=new)
        found = await verified(trail)
        assert [each.where for each in found.findings] == ["checkpoint 2", "checkpoint 3"]

    @pytest.mark.usefixtures("kept")
    async def test_a_record_that_was_taken_away_is_missed(self, db: Database, trail: AuditTrail) -> None:
        await delete_anyway(db, "audit_record", "seq = 6")
        assert "place 6 is missing" in (await verified(trail)).findings[0].what

    async def test_an_end_that_was_cut_off_with_its_checkpoint_shows_by_the_kept_one(
        self, db: Database, trail: AuditTrail, kept: Sequence[Checkpoint]
    ) -> None:
        await delete_anyway(db, "audit_record", "seq >= 8")
        await delete_anyway(db, "audit_checkpoint", "number = 3")
        assert (await verified(trail)).is_intact, "nothing inside the database can show this"
        found = await verified(trail, kept)
        assert "records were taken away" in found.findings[0].what
        assert found.proven == 8

    async def test_a_log_rewritten_with_the_signing_key_shows_by_the_kept_checkpoint(
        self, db: Database, clock: FrozenClock, trail: AuditTrail, kept: Sequence[Checkpoint]
    ) -> None:
        await delete_anyway(db, "audit_record", "1 = 1")
        await delete_anyway(db, "audit_checkpoint", "1 = 1")
        forger = trail_over(db, clock)
        for _ in range(3):
            await written(forger, 4)
            await forger.seal()
        assert (await verified(trail)).is_intact
        assert not (await verified(trail, kept[:1])).is_intact

    async def test_says_from_when_on_a_loss_can_not_be_proved(
        self, trail: AuditTrail, kept: Sequence[Checkpoint]
    ) -> None:
        found = await verified(trail, kept[:2])
        assert (found.proven, found.proven_until) == (8, kept[1].at)
        assert (await verified(trail)).proven_until is None

    async def test_a_checkpoint_of_a_foreign_key_is_not_believed(
        self, trail: AuditTrail, kept: Sequence[Checkpoint]
    ) -> None:
        chain = [each async for each in trail.store.checkpoints()]
        found = await verify(trail.store.log(), chain, {})
        assert len(found.findings) == len(kept)

    async def test_a_checkpoint_with_other_facts_has_a_wrong_signature(self, trail: AuditTrail) -> None:
        await written(trail, 1)
        made = await trail.seal()
        assert made is not None
        found = await verify(trail.store.log(), [replace(made, at=made.at + 1)], await trail.store.keys())
        assert [each.what for each in found.findings] == ["its signature is wrong"]


@given(st.data())
def test_any_single_change_of_an_exported_log_is_found(data: st.DataObject) -> None:
    records = _sealed(9)
    checkpoint = _checkpoint(records)
    kind = data.draw(st.sampled_from(["edit", "drop", "swap", "repeat"]))
    at = data.draw(st.integers(0, len(records) - 2))
    changed = list(records)
    if kind == "edit":
        changed[at] = replace(changed[at], body=changed[at].body.replace("used", "made"))
    elif kind == "drop":
        del changed[at]
    elif kind == "swap":
        changed[at], changed[at + 1] = changed[at + 1], changed[at]
    else:
        changed.insert(at, changed[at])
    assert not asyncio.run(_verified(changed, checkpoint)).is_intact
    assert asyncio.run(_verified(records, checkpoint)).is_intact


def _sealed(count: int) -> list[AuditRecord]:
    made = [AuditRecord.of(entry(number), number, KEYS.pseudonyms) for number in range(count)]
    return [replace(each, seq=at, leaf=each.leaf_of_body) for at, each in enumerate(made)]


def _checkpoint(records: Sequence[AuditRecord]) -> Checkpoint:
    tree = Tree().grown(bytes.fromhex(each.leaf_of_body) for each in records)
    return KEYS.signing.sign(1, tree.size, tree.root, "0" * 64, 0)


async def _verified(records: Sequence[AuditRecord], checkpoint: Checkpoint) -> Verification:
    async def each() -> AsyncIterator[AuditRecord]:
        for record in records:
            yield record

    return await verify(each(), [checkpoint], {KEYS.signing.key_id: KEYS.signing.public})
