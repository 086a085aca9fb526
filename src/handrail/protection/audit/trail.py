"""The working part: records go in beside what they record, or in the background; sealing chains them."""

from dataclasses import dataclass, replace
from itertools import islice

from handrail.core.clock import Clock
from handrail.core.errors import HandrailError
from handrail.core.principal import Principal
from handrail.db import Batch, Conflict, Database
from handrail.protection.audit.checkpoints import Checkpoint
from handrail.protection.audit.keys import AuditKeys
from handrail.protection.audit.merkle import leaf_hash
from handrail.protection.audit.records import AuditEntry, AuditRecord
from handrail.protection.audit.spool import Spool
from handrail.protection.audit.store import AuditStore

MOST_NOTED = 10_000
MOST_A_SEAL = 2_000
MOST_A_FLUSH = 500


@dataclass(slots=True)
class _Noted:
    at: int
    times: int = 1


class AuditTrail:
    """The log of one deployment, as one process sees it. For one event loop."""

    def __init__(self, db: Database, store: AuditStore, keys: AuditKeys, clock: Clock) -> None:
        self.store = store
        self.pseudonyms = keys.pseudonyms
        self.dropped = 0
        self._db = db
        self._keys = keys
        self._clock = clock
        self._noted: dict[AuditEntry, _Noted] = {}
        self._key_is_known = False

    def record(self, batch: Batch, entry: AuditEntry) -> None:
        """Append the record to the batch of what it records: both are stored, or neither."""
        self.store.add(batch, AuditRecord.of(entry, self._clock.micros(), self.pseudonyms))

    def note(self, entry: AuditEntry) -> None:
        """Record something that writes nothing else (a denial), soon, together with others.

        The same entry again before it is stored is one record with a count, so that somebody who knocks a thousand
        times a second does not fill the log. Open: with ten thousand waiting, the newest is dropped and counted.
        """
        known = self._noted.get(entry)
        if known is not None:
            known.times += 1
        elif len(self._noted) >= MOST_NOTED:
            self.dropped += 1
        else:
            self._noted[entry] = _Noted(self._clock.micros())

    async def take_in(self, spool: Spool, tenant_id: str, by: Principal) -> int:
        """Store what commands did that could not store it themselves; how many it were."""
        if not spool.is_waiting:
            return 0
        try:
            with spool.taken(tenant_id, by) as entries:
                async with self._db.batch() as batch:
                    for entry, at in entries:
                        self.store.add(batch, AuditRecord.of(entry, at, self.pseudonyms))
                return len(entries)
        except BlockingIOError:
            # A command writes just now, or another process takes it in.
            return 0

    async def flush(self) -> int:
        """Store what was noted; returns how many. What the database does not take now stays noted.

        Raises:
            StoreUnavailable: nothing was stored.
        """
        flushed = 0
        while self._noted:
            some = [(entry, self._noted.pop(entry)) for entry in [*islice(self._noted, MOST_A_FLUSH)]]
            try:
                async with self._db.batch() as batch:
                    for entry, noted in some:
                        self.store.add(batch, AuditRecord.of(_counted(entry, noted), noted.at, self.pseudonyms))
            except HandrailError:
                self._noted = {**dict(some), **self._noted}
                raise
            flushed += len(some)
        return flushed

    async def seal(self) -> Checkpoint | None:
        """Give the committed records their places and sign the new root; `None` when there was nothing to seal.

        Any number of processes may try at once: the checkpoint's number is unique, so one of them does it.
        """
        waiting = await self.store.unsealed(MOST_A_SEAL)
        if not waiting:
            return None
        await self._publish_key()
        head = await self.store.head()
        leaves = [leaf_hash(body.encode()) for _, body in waiting]
        tree = head.tree.grown(leaves)
        checkpoint = self._keys.signing.sign(head.number + 1, tree.size, tree.root, head.digest, self._clock.micros())
        places = [(record_id, leaf.hex()) for (record_id, _), leaf in zip(waiting, leaves, strict=True)]
        try:
            async with self._db.batch() as batch:
                self.store.seal(batch, checkpoint, tree, places)
        except Conflict:
            return None
        return checkpoint

    async def _publish_key(self) -> None:
        """Store the public half beside the log, so that anybody can check; whom to believe is for the reader to say."""
        if self._key_is_known:
            return
        key = self._keys.signing
        if key.key_id not in await self.store.keys():
            try:
                async with self._db.batch() as batch:
                    self.store.add_key(batch, key.key_id, key.public, self._clock.micros())
            except Conflict:
                pass
        self._key_is_known = True


def _counted(entry: AuditEntry, noted: _Noted) -> AuditEntry:
    return entry if noted.times == 1 else replace(entry, details=(*entry.details, ("times", noted.times)))
