"""Data keys of users of whom nothing is left are destroyed, so that older backups of theirs can't be read any more.

A user may come back at any moment, in any process, and write under the key that is at hand there. So a key is retired
first, and destroyed by a later run, an hour later at least, if still nobody is there: by then no process has it at hand
(30 seconds), and what was written under it meanwhile is seen.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from handrail.core.jobs import DEPLOYMENT, Task
from handrail.flows.services import Services
from handrail.protection.audit import AuditEntry
from handrail.protection.encryption import OF_TENANT, KeyStore, Presence, StoredKey

GRACE_MICROS = 3600 * 1_000_000
PAGE = 500
State = Mapping[str, Any]


async def collect_keys(services: Services, task: Task, _state: State) -> State:
    """One pass; whatever is interrupted, the next one does."""
    if services.encryption.keys is None:
        return {"done": True}
    # Before anybody is looked for: what was retired an hour before this moment, nobody has written under since.
    at = services.clock.micros()
    store = await services.encryption.store()
    present = await _present(services, store)
    retired, destroyed, after = 0, 0, ("", 0)
    while found := await store.page(after=after, limit=PAGE):
        unused = [each for each in found if each.created_at <= at - GRACE_MICROS and each.owner not in present]
        active = [each for each in unused if each.retired_at is None]
        gone = [each for each in unused if each.retired_at is not None and each.retired_at <= at - GRACE_MICROS]
        await store.retire_versions(active, at=at)
        await _destroy(services, store, task, gone)
        retired, destroyed, after = retired + len(active), destroyed + len(gone), (found[-1].id, found[-1].version)
    services.encryption.keys.forget()
    return {"done": True, "report": {DEPLOYMENT: {"keys_retired": retired, "keys_destroyed": destroyed}}}


async def _present(services: Services, store: KeyStore) -> Presence:
    """Everybody who has a conversation, and their tenants; all that is sealed hangs on one."""
    present, after = Presence(), ("", "")
    while found := await services.background.subjects.after(*after, limit=PAGE):
        for tenant_id, subject in found:
            present.note(store.owner_of(tenant_id, subject))
            present.note(store.owner_of(tenant_id, OF_TENANT))
        after = found[-1]
    return present


async def _destroy(services: Services, store: KeyStore, task: Task, keys: Sequence[StoredKey]) -> None:
    """On record first: killed in between, the next run does both again."""
    if not keys:
        return
    async with services.db.batch() as batch:
        for tenant_id, count in Counter(each.tenant_id for each in keys).items():
            details = (("keys", count),)
            entry = AuditEntry(tenant_id, "data_keys.destroyed", "done", f"job:{task.id}", details=details)
            services.audit.record(batch, entry)
    await store.destroy_retired(keys)
