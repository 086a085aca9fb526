"""Encryption: what people wrote lies in the files of the database only under a key of their own, and dies with it.

Each subject of a tenant has a data key (AES-256-GCM); a master key, which is not in the database, wraps the data keys;
the wrapped keys lie in a key store of their own, outside the backups of the database. Whoever destroys a subject's key
has erased what it sealed, in every copy.

Acts under every store, where statements reach the database and rows come from it. Closed: what can't be sealed is not
written, and what can't be opened is not shown.
"""

from handrail.protection.encryption.encryption import OF_TENANT, Encryption
from handrail.protection.encryption.envelope import ContentUnreadable, DataKey, is_sealed
from handrail.protection.encryption.erasure_log import ErasureLog
from handrail.protection.encryption.key_store import Erasure, KeyStore, StoredKey
from handrail.protection.encryption.master import (
    KeyUnavailable,
    LocalMasterKeys,
    MasterKeyProblem,
    MasterKeys,
    Wrapped,
    master_keys,
)
from handrail.protection.encryption.presence import Presence
from handrail.protection.encryption.service_keys import (
    KeyService,
    KmsUnavailable,
    LocalAndService,
    ServiceKeys,
    service_named,
)
from handrail.protection.encryption.subject_keys import SubjectKeys

__all__ = [
    "OF_TENANT",
    "ContentUnreadable",
    "DataKey",
    "Encryption",
    "Erasure",
    "ErasureLog",
    "KeyService",
    "KeyStore",
    "KeyUnavailable",
    "KmsUnavailable",
    "LocalAndService",
    "LocalMasterKeys",
    "MasterKeyProblem",
    "MasterKeys",
    "Presence",
    "ServiceKeys",
    "StoredKey",
    "SubjectKeys",
    "Wrapped",
    "is_sealed",
    "master_keys",
    "service_named",
]
