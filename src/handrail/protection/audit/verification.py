"""Does the log still say what it said? Every record is hashed again, every checkpoint's root and signature checked."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

from handrail.protection.audit.checkpoints import FIRST_PREVIOUS, Checkpoint, is_signed, root_of_nothing
from handrail.protection.audit.merkle import Tree
from handrail.protection.audit.records import AuditRecord

MOST_FINDINGS = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: where (a record's place or a checkpoint's number) and what."""

    where: str
    what: str


@dataclass(slots=True)
class Verification:
    """What verifying found.

    Attributes:
        records: records that were hashed.
        checkpoints: checkpoints that were checked.
        proven: records whose loss or change would have shown: up to the newest checkpoint that was kept elsewhere.
        proven_until: when that checkpoint was signed; `None` without one. What came after could have been taken away
            by somebody who holds the database and the signing key.
        unsealed: records that have no place yet.
    """

    records: int = 0
    checkpoints: int = 0
    proven: int = 0
    proven_until: int | None = None
    unsealed: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def is_intact(self) -> bool:
        return not self.findings

    def report(self, where: str, what: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(where, what))


class _Log:
    """The tree as the records make it, with the root at every size that a checkpoint names."""

    def __init__(self, sizes: Iterable[int], found: Verification) -> None:
        self._wanted = set(sizes)
        self._found = found
        self._tree = Tree()
        # The place of the next record; more than the tree's size once records are missing.
        self.size = 0
        self.roots = {0: root_of_nothing()}

    def take(self, record: AuditRecord) -> None:
        found, where = self._found, f"record {record.seq} ({record.id})"
        if record.seq != self.size:
            found.report(where, f"the record of place {self.size} is missing")
            # Go on from there, so that the first hole does not hide what else is wrong. No root fits any more.
            self.size = max(self.size, record.seq or 0)
            self._tree = self._tree.grown([bytes(32)])
        if not record.is_leaf_only:
            self._check_text(record, where)
        leaf = record.leaf or "" if record.is_leaf_only else record.leaf_of_body
        self._tree = self._tree.grown([bytes.fromhex(leaf)])
        self.size += 1
        found.records += 1
        if self.size in self._wanted:
            self.roots[self.size] = self._tree.root.hex()

    def _check_text(self, record: AuditRecord, where: str) -> None:
        if record.leaf != record.leaf_of_body:
            self._found.report(where, "its text was changed after it was sealed")
        if (column := record.contradicts_body()) is not None:
            self._found.report(where, f"its searchable column {column!r} was changed")


async def verify(
    records: AsyncIterator[AuditRecord],
    checkpoints: Iterable[Checkpoint],
    public_keys: Mapping[str, str],
    *,
    kept: Iterable[Checkpoint] = (),
    unsealed: int = 0,
) -> Verification:
    """Check a whole log.

    Args:
        records: in the order of their places.
        checkpoints: as they stand beside the log, in order.
        public_keys: the keys to believe, base64 by id.
        kept: checkpoints that were exported earlier and kept where whoever holds the database can't reach them.
    """
    found, chain, elsewhere = Verification(unsealed=unsealed), list(checkpoints), list(kept)
    log = _Log((each.size for each in (*chain, *elsewhere)), found)
    async for record in records:
        log.take(record)
    _check_chain(chain, log, public_keys, found)
    for each in elsewhere:
        _check_kept(each, log, public_keys, found)
    return found


def _check_chain(chain: list[Checkpoint], log: _Log, public_keys: Mapping[str, str], found: Verification) -> None:
    number, previous, size = 0, FIRST_PREVIOUS, 0
    for each in chain:
        where = f"checkpoint {each.number}"
        found.checkpoints += 1
        if each.number != number + 1:
            found.report(where, f"checkpoint {number + 1} is missing")
        elif each.previous != previous:
            found.report(where, "it does not follow from the one before")
        if each.size < size:
            found.report(where, f"it has {each.size} records, fewer than the {size} before")
        _check(each, log, public_keys, found, where)
        number, previous, size = each.number, each.digest, each.size
    if log.size > size:
        found.report(f"record {size}", f"{log.size - size} sealed records are under no checkpoint")


def _check_kept(each: Checkpoint, log: _Log, public_keys: Mapping[str, str], found: Verification) -> None:
    before = len(found.findings)
    _check(each, log, public_keys, found, f"kept checkpoint {each.number}")
    if len(found.findings) == before and each.size >= found.proven:
        found.proven, found.proven_until = each.size, each.at


def _check(each: Checkpoint, log: _Log, public_keys: Mapping[str, str], found: Verification, where: str) -> None:
    public = public_keys.get(each.key_id)
    if public is None:
        found.report(where, f"it is signed by a key that is not to be believed: {each.key_id!r}")
    elif not is_signed(each, public):
        found.report(where, "its signature is wrong")
    root = log.roots.get(each.size)
    if root is None:
        found.report(where, f"it is over {each.size} records and there are only {log.size}: records were taken away")
    elif root != each.root:
        found.report(where, f"the first {each.size} records are not the ones it was signed over")
