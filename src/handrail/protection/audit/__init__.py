"""Audit: who did what to whom, append-only, and provable afterwards.

Records are inserted in the same batch as what they record, so one never exists without the other. Every second the
records that were committed since become leaves of one Merkle tree (RFC 6962), whose root is signed: an edit, a
reordering, or a loss before the last checkpoint that was kept elsewhere shows.

Acts beside every decision, denial, release, change of access and side effect. Closed where it shares a batch: what
can't be recorded does not happen. Open for what is only noted (denials): a full queue drops and counts, since refusing
must not fail. Personal data stand here only as keyed HMACs.
"""

from handrail.protection.audit.checkpoints import Checkpoint, SigningKey
from handrail.protection.audit.keys import AuditKeys, AuditKeysExposed, audit_keys
from handrail.protection.audit.pseudonyms import Pseudonyms
from handrail.protection.audit.records import AuditEntry, AuditRecord, Outcome
from handrail.protection.audit.spool import Spool
from handrail.protection.audit.store import AuditQuery, AuditStore
from handrail.protection.audit.trail import AuditTrail
from handrail.protection.audit.verification import Finding, Verification, verify

__all__ = [
    "AuditEntry",
    "AuditKeys",
    "AuditKeysExposed",
    "AuditQuery",
    "AuditRecord",
    "AuditStore",
    "AuditTrail",
    "Checkpoint",
    "Finding",
    "Outcome",
    "Pseudonyms",
    "SigningKey",
    "Spool",
    "Verification",
    "audit_keys",
    "verify",
]
