"""Data keys at hand: bounded, kept for a while, made at a subject's first word."""

import contextlib
import os
from collections import OrderedDict
from dataclasses import replace
from typing import TypeVar

from handrail.core.clock import Clock
from handrail.core.ids import new_id
from handrail.db import Conflict
from handrail.protection.encryption.envelope import KEY_BYTES, DataKey, key_of
from handrail.protection.encryption.key_store import KeyStore, StoredKey
from handrail.protection.encryption.master import MasterKeys

K = TypeVar("K")


class SubjectKeys:
    """The keys of subjects; a warm one costs a dictionary look-up.

    Args:
        most: so many are kept unwrapped.
        seconds: and so long, after which the store is asked again: another process may have destroyed one.
    """

    def __init__(
        self, store: KeyStore, master: MasterKeys, clock: Clock, *, most: int = 4096, seconds: float = 30.0
    ) -> None:
        self._store = store
        self._master = master
        self._clock = clock
        self._most = most
        self.seconds = seconds
        self._active: OrderedDict[tuple[str, str], tuple[DataKey, float]] = OrderedDict()
        self._by_id: OrderedDict[tuple[str, int], tuple[DataKey, float]] = OrderedDict()

    def at_hand(self, tenant_id: str, subject: str) -> DataKey | None:
        """The key that seals this subject's content, if it is here."""
        return self._fresh(self._active, (tenant_id, subject))

    async def of(self, tenant_id: str, subject: str) -> DataKey:
        """The key that seals this subject's content; made, and stored before it is used, when there is none."""
        if (known := self.at_hand(tenant_id, subject)) is not None:
            return known
        owner = self._store.owner_of(tenant_id, subject)
        stored = await self._store.active(tenant_id, owner)
        if stored is None:
            stored = await self._make(tenant_id, owner)
        key = await self._unwrapped(stored)
        self._keep(self._active, (tenant_id, subject), key)
        return key

    def opener_at_hand(self, sealed: str) -> DataKey | None:
        """The key that a sealed value names, if it is here."""
        return self._fresh(self._by_id, key_of(sealed))

    async def opener(self, sealed: str) -> DataKey | None:
        """The key that a sealed value names; `None` when it has been destroyed."""
        if (known := self.opener_at_hand(sealed)) is not None:
            return known
        stored = await self._store.find(*key_of(sealed))
        return None if stored is None else await self._unwrapped(stored)

    async def renew(self, tenant_id: str, owner: str) -> None:
        """A new version seals from now on; the old one still opens."""
        old = await self._store.active(tenant_id, owner)
        if old is None:
            return
        new = replace(old, version=old.version + 1)
        await self._store.replace(old, await self._wrapped(new), at=self._clock.micros())
        self.forget()

    async def renew_older(self, before: int) -> int:
        """Renew up to a hundred keys that were made before; how many it were."""
        found = await self._store.older(before)
        for each in found:
            # Somebody renews them too: one of the two did.
            with contextlib.suppress(Conflict):
                await self.renew(each.tenant_id, each.owner)
        return len(found)

    async def rewrap(self) -> int:
        """Put up to a hundred data keys under the current master key; how many it were."""
        found = await self._store.under_other_masters(self._master.current)
        for each in found:
            secret = await self._master.unwrap(each.master_id, each.wrapped, each.place)
            await self._store.rewrap(each, *await self._master.wrap(secret, each.place))
        return len(found)

    def forget(self) -> None:
        """Ask the store again from here on."""
        self._active.clear()
        self._by_id.clear()

    async def _make(self, tenant_id: str, owner: str) -> StoredKey:
        made = await self._wrapped(StoredKey(new_id("dkey"), 1, tenant_id, owner, "", b"", 0))
        try:
            await self._store.add(made)
        except Conflict:
            # Another process met this subject at the same moment; its key is the one.
            stored = await self._store.active(tenant_id, owner)
            if stored is None:
                raise
            return stored
        return made

    async def _wrapped(self, key: StoredKey) -> StoredKey:
        wrapped = await self._master.wrap(os.urandom(KEY_BYTES), key.place)
        return replace(key, master_id=wrapped.master_id, wrapped=wrapped.data, created_at=self._clock.micros())

    async def _unwrapped(self, stored: StoredKey) -> DataKey:
        if (known := self._fresh(self._by_id, (stored.id, stored.version))) is not None:
            return known
        secret = await self._master.unwrap(stored.master_id, stored.wrapped, stored.place)
        key = DataKey(stored.id, stored.version, stored.tenant_id, stored.owner, secret)
        self._keep(self._by_id, (stored.id, stored.version), key)
        return key

    def _fresh(self, cache: "OrderedDict[K, tuple[DataKey, float]]", name: K) -> DataKey | None:
        found = cache.get(name)
        if found is None or found[1] < self._clock.monotonic():
            return None
        return found[0]

    def _keep(self, cache: "OrderedDict[K, tuple[DataKey, float]]", name: K, key: DataKey) -> None:
        cache[name] = (key, self._clock.monotonic() + self.seconds)
        cache.move_to_end(name)
        while len(cache) > self._most:
            cache.popitem(last=False)
