"""Keys, identities and the audit log, by the settings."""

import hashlib
import hmac
from typing import TYPE_CHECKING

from handrail.core.clock import Clock
from handrail.db import Database
from handrail.egress import Egress
from handrail.insight.search import SearchKeys
from handrail.protection.audit import AuditStore, AuditTrail, audit_keys
from handrail.protection.auth import IdentityProvider
from handrail.protection.encryption import (
    Encryption,
    LocalAndService,
    MasterKeys,
    ServiceKeys,
    master_keys,
    service_named,
)
from handrail.settings import AuthSettings, EncryptionSettings, OidcSettings, Settings

if TYPE_CHECKING:
    from handrail.protection.auth.tokens import TokenVerifier


async def encryption_over(settings: Settings, db: Database, clock: Clock) -> Encryption:
    """The deployment's keys, looked up and tried."""
    encryption = Encryption(db, settings.data_dir, await _master_keys(settings.encryption), clock)
    await encryption.start()
    return encryption


async def _master_keys(settings: EncryptionSettings) -> MasterKeys | None:
    """Keys of the settings, a service's, or both; a service that does not answer is no start."""
    local = master_keys(settings.master_key, settings.key_file)
    if settings.kms is None:
        return local
    service = ServiceKeys(service_named(settings.kms), seconds=settings.kms_seconds)
    try:
        await service.probe()
    except BaseException:
        await service.close()
        raise
    return service if local is None else LocalAndService(local, service, service_wraps=settings.kms_wraps)


def search_keys(encryption: Encryption, settings: Settings) -> SearchKeys:
    """Under the tenant's key like what was said; of the deployment's secret, while that lies readable."""
    secret = audit_keys(settings.data_dir, settings.audit.secret).tokens

    async def secret_of(tenant_id: str) -> bytes:
        sealed = await encryption.secret_of_tenant(tenant_id, "search")
        return sealed or hmac.digest(secret, f"search\0{tenant_id}".encode(), hashlib.sha256)

    return SearchKeys(secret_of)


def token_verifier(settings: AuthSettings, clock: Clock, egress: Egress) -> "TokenVerifier | None":
    if not settings.secret and settings.keys is None:
        return None
    from handrail.protection.auth.signing_keys import PublicKeys, SharedSecret, reader
    from handrail.protection.auth.tokens import TokenVerifier

    if settings.secret:
        return TokenVerifier(SharedSecret(settings.secret), settings, clock)
    assert settings.keys is not None, "one of the two is named"
    keys = PublicKeys(
        reader(settings.keys, egress), clock, keep_seconds=settings.keep_seconds, stale_seconds=settings.stale_seconds
    )
    return TokenVerifier(keys, settings, clock)


def identity_provider(settings: OidcSettings, clock: Clock, egress: Egress) -> "IdentityProvider | None":
    if settings.issuer is None:
        return None
    from handrail.protection.auth.id_token import OidcTerms
    from handrail.protection.auth.oidc import OidcProvider

    assert settings.client_id is not None, "the settings have seen to it"
    assert settings.address is not None, "the settings have seen to it"
    terms = OidcTerms(
        name=settings.name,
        issuer=settings.issuer,
        client_id=settings.client_id,
        address=settings.address,
        role_of=settings.role_of,
        scopes=settings.scopes,
        leeway_seconds=settings.leeway_seconds,
        tenant=settings.tenant,
        tenant_claim=settings.tenant_claim,
        subject_claim=settings.subject_claim,
        roles_claim=settings.roles_claim,
        teams_claim=settings.teams_claim,
    )
    return OidcProvider(terms, settings.client_secret, clock, egress)


def audit_trail(settings: Settings, db: Database, clock: Clock) -> AuditTrail:
    """The audit log over this database, with the deployment's own keys."""
    return AuditTrail(db, AuditStore(db), audit_keys(settings.data_dir, settings.audit.secret), clock)
