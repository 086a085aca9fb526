"""Settings to real objects: the only place that builds adapters."""

import hashlib
import hmac
import os
import random
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from handrail.core.clock import Clock, SystemClock
from handrail.core.ids import new_id
from handrail.db import Database, StoreUnavailable
from handrail.db.jobs import Executors, JobRuns, Outbox
from handrail.db.open import open_database
from handrail.egress import Egress
from handrail.flows import audit as audit_flow
from handrail.flows import traces as traces_flow
from handrail.flows.attempts import FailedAttempts
from handrail.flows.background import Background, KeptDays
from handrail.flows.data_classes import SEALED
from handrail.flows.erasure import replay
from handrail.flows.releases import Releases
from handrail.flows.services import LOOK, Services, TurnLimits
from handrail.flows.spending import learn_prices
from handrail.insight.alerts import AlertConfig, Alerts, AlertStore, ChildSender, Places
from handrail.insight.costs import PriceBook, PriceList, UsageStore
from handrail.insight.feedback import FeedbackRetention, FeedbackRules, FeedbackStore
from handrail.insight.scorecard import FactStore
from handrail.insight.search import SearchKeys, SearchStore
from handrail.insight.traces import Collector, OtlpExporter, Sampling, TraceRetention, TraceWriter
from handrail.insight.traces.exporter import headers_of
from handrail.oversight.approvals import ApprovalRetention, ApprovalStore
from handrail.oversight.escalations import EscalationRetention, EscalationStore
from handrail.protection.audit import AuditStore, AuditTrail, Spool, audit_keys
from handrail.protection.auth import (
    Authenticator,
    IdentityProvider,
    KeyStore,
    SessionLimits,
    SessionStore,
    SignInLinks,
    operator_token,
)
from handrail.protection.encryption import (
    Encryption,
    ErasureLog,
    LocalAndService,
    MasterKeys,
    ServiceKeys,
    master_keys,
    service_named,
)
from handrail.protection.guardrails import Detector, KnownStrings, OutputScanner, read_thresholds
from handrail.protection.privacy import Mint, Privacy, TokenVault, redact_text
from handrail.protection.rate_limits import AddressRate, LeasedRate, Rate, RateLimiter, SharedRateLimiter, lease_terms
from handrail.serving.context import extract
from handrail.serving.conversations import (
    ConversationExport,
    ConversationRetention,
    ConversationStore,
    ExportFolder,
    LeaseStore,
    SharedStreams,
    Streams,
    SubjectRecords,
)
from handrail.serving.models import ModelConnections, ModelRegistry
from handrail.serving.resilience import (
    Admission,
    AdmissionLimits,
    BreakerOpen,
    BreakerPolicy,
    Breakers,
    Bulkhead,
    LastGood,
    Permit,
    Retries,
    RetryPolicy,
    SharedBreakers,
    Switchboard,
    SwitchStore,
    is_model_key,
)
from handrail.serving.routing import train_apart
from handrail.serving.tools import ToolRunner
from handrail.settings import (
    AdmissionSettings,
    AuthSettings,
    EncryptionSettings,
    OidcSettings,
    ResilienceSettings,
    Settings,
    StoreSettings,
)
from handrail.shared_state import Bus, LocalBus, Valkey, ValkeyBus
from handrail.telemetry.logging import keep_off_standard_output, logger
from handrail.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from handrail.protection.auth.tokens import TokenVerifier

STORE_KEY = "store"
DAYS = {"off": 0, "daily": 1, "weekly": 7}
CONVERSATIONS_A_TURN = 10
# A text on a span helps to see what it was about; all of it is in the transcript.
MOST_TRACED_CHARACTERS = 4_000
SIGN_INS = "attempts to sign in from one address"
REQUESTS = "requests from one address"
FAILURES = "keys and tokens from one address that do not work"


@asynccontextmanager
async def services_from(settings: Settings, clock: Clock | None = None) -> AsyncGenerator[Services]:
    """Open everything, hand it out, and close it in the other order."""
    keep_off_standard_output()
    clock = clock or SystemClock()
    metrics, owner = Metrics(os.environ.get("PROMETHEUS_MULTIPROC_DIR")), _owner()
    resilience = settings.resilience
    shared = _Shared.of(settings, owner, metrics) if settings.valkey_url else None
    bus: Bus = shared.bus if shared else LocalBus()
    mirror, policies = SharedBreakers(bus), _breaker_policies(resilience, settings.store)
    breakers = Breakers(clock, policies, mirror=mirror, on_change=metrics.breaker_changed)
    guard = partial(_store_permit, breakers)
    unsealed = await open_database(settings.url, clock, seconds=settings.store.timeout_seconds, guard=guard)
    encryption = await _encryption(settings, unsealed, clock)
    db = encryption.sealed(SEALED)
    egress = Egress(settings.egress.rules)
    alerts = alerts_over(db, settings)
    exporter = _exporter(settings, egress, partial(_traces_lost, metrics, alerts))
    connections = ModelConnections(egress=egress)
    tool_runner = ToolRunner(most_threads=settings.tools.threads, most_result_bytes=settings.tools.result_bytes)
    keys = KeyStore(db)
    audit = audit_trail(settings, db, clock)
    failures = _rate(clock, _failures(settings))
    attempts = FailedAttempts(failures, audit, clock, lambda: metrics.refused_by_rate("credentials"))
    provider = _provider(settings.oidc, clock, egress)
    operator, closed = operator_token(settings.data_dir), provider is not None
    authenticator = Authenticator(keys, clock, operator, _tokens(settings.auth, clock, egress), attempts, closed=closed)
    await authenticator.start()
    privacy = Privacy(Mint(audit_keys(settings.data_dir, settings.audit.secret).tokens), TokenVault(db))
    detector = Detector(thresholds=read_thresholds(settings.data_dir))
    services = Services(
        clock=clock,
        db=db,
        limits=_turn_limits(settings, owner),
        authenticator=authenticator,
        keys=keys,
        sessions=SessionStore(db, SessionLimits(settings.console.idle_minutes * 60, settings.console.hours * 3600)),
        links=SignInLinks(db),
        sign_in_rates=_rate(clock, _sign_ins(settings)),
        rate_limits=_rate_limits(settings, clock),
        conversation_rates=_rate(clock, _conversations(settings)),
        token_rates=_rate(clock, wanted) if (wanted := _tokens_a_minute(settings)) else None,
        address_rates=_address_rates(settings, clock, metrics),
        provider=provider,
        conversations=ConversationStore(db),
        leases=LeaseStore(db),
        streams=Streams(shared.streams.tap if shared else None),
        releases=_releases(db, connections, clock, audit, detector),
        tool_runner=tool_runner,
        escalations=EscalationStore(db),
        usage=UsageStore(db),
        prices=PriceBook(settings.costs.prices, PriceList(settings.data_dir / "prices.json"), _say_unpriced),
        budgets=settings.costs.budgets,
        feedback=FeedbackStore(db),
        feedback_rates=_rate(clock, _feedback(settings)),
        channel_tests=_rate(clock, CHANNEL_TESTS),
        feedback_rules=FeedbackRules(settings.feedback.csat, settings.feedback.currency),
        facts=FactStore(db),
        search=SearchStore(db, _search_keys(encryption, settings)),
        traces=_traces(db, settings, metrics, exporter, alerts),
        trace_export=exporter,
        approvals=ApprovalStore(db),
        audit=audit,
        breakers=breakers,
        retries=Retries(random.Random(), _retry_policy(resilience), on_retry=metrics.retried),
        bulkhead=Bulkhead(lambda key: resilience.tool_calls, wait_seconds=resilience.tool_wait_seconds),
        admission=_admission(settings.admission, clock, metrics),
        last_good=LastGood(clock, ttl_seconds=resilience.last_good_seconds),
        switches=Switchboard(),
        switch_store=SwitchStore(db),
        background=_background(db, settings),
        encryption=encryption,
        privacy=privacy,
        metrics=metrics,
        alerts=alerts,
        detector=detector,
        output_scanner=OutputScanner(KnownStrings.of_environment(os.environ), privacy.finder.personal_in),
        bus=bus,
        commands=Spool(settings.data_dir),
        digest_days=DAYS[settings.alerts.digest],
        log_days=DAYS[settings.jobs.conversation_log],
    )
    services.releases.on_loaded = partial(learn_prices, services)
    mirror.hear(services.breakers)
    bus.listen(LOOK, lambda _: services.look.set())
    if shared:
        await shared.serve(services, settings, failures)
    await _before_anybody_is_answered(services)
    try:
        yield services
    finally:
        await traces_flow.close(services)
        await audit_flow.close(services)
        if services.address_rates is not None:
            await services.address_rates.close()
        if shared:
            await shared.close()
        await _close(authenticator, provider, connections)
        tool_runner.close()
        await encryption.close()
        await db.close()


async def _before_anybody_is_answered(services: Services) -> None:
    """What is off stays off, and who was erased stays erased."""
    services.switches.show(await services.switch_store.off())
    await replay(services)


async def _close(
    authenticator: Authenticator, provider: IdentityProvider | None, connections: ModelConnections
) -> None:
    """Hang up on whoever is outside."""
    await authenticator.close()
    if provider is not None:
        await provider.close()
    await connections.close()


@dataclass(frozen=True, slots=True)
class _Shared:
    """What is made only when a Valkey server is named."""

    valkey: Valkey
    bus: ValkeyBus
    streams: SharedStreams

    @classmethod
    def of(cls, settings: Settings, owner: str, metrics: Metrics) -> "_Shared":
        valkey = Valkey(settings.valkey_url or "", on_change=metrics.shared_state_changed)
        bus = ValkeyBus(valkey, owner, on_lost=lambda _: metrics.shared_state_lost("news"))
        return cls(valkey, bus, SharedStreams(valkey, on_lost=lambda count: metrics.shared_state_lost("events", count)))

    async def serve(self, services: Services, settings: Settings, failures: Rate) -> None:
        """Connect; from here on others are told and heard."""
        services.valkey, services.shared_streams = self.valkey, self.streams
        self.streams.ciphers = services.encryption.keys
        services.shared_rates = SharedRateLimiter(
            self.valkey,
            services.rate_limits,
            per_minute=settings.rate_limit.turns_per_minute,
            burst=settings.rate_limit.burst,
            on_degraded=lambda: services.metrics.shared_state_lost("rates"),
        )
        for rate, wanted in (
            (services.sign_in_rates, _sign_ins(settings)),
            (services.conversation_rates, _conversations(settings)),
            (services.token_rates, _tokens_a_minute(settings)),
            (failures, _failures(settings)),
            (services.feedback_rates, _feedback(settings)),
            (services.channel_tests, CHANNEL_TESTS),
        ):
            if rate is not None and wanted is not None:
                rate.shared = self._limiter(services, rate.local, wanted)
        if services.address_rates is not None:
            services.address_rates.shared = self._of_addresses(services, services.address_rates.local, settings)
        self.bus.on_connected = services.look.set
        await self.valkey.start()
        await self.bus.start()
        await self.streams.start()

    def _limiter(self, services: Services, local: RateLimiter, wanted: "_Wanted") -> SharedRateLimiter:
        return SharedRateLimiter(
            self.valkey,
            local,
            per_minute=wanted.per_minute,
            burst=wanted.burst,
            what=wanted.what,
            on_degraded=lambda: services.metrics.shared_state_lost("rates"),
        )

    def _of_addresses(
        self, services: Services, local: RateLimiter, settings: Settings
    ) -> LeasedRate | SharedRateLimiter:
        wanted = _requests(settings)
        terms = lease_terms(wanted.per_minute, wanted.burst)
        if terms is None:
            return self._limiter(services, local, wanted)
        lost = services.metrics.shared_state_lost
        return LeasedRate(self.valkey, local, services.clock, terms, on_degraded=lambda: lost("rates"))

    async def close(self) -> None:
        await self.streams.close()
        await self.bus.close()
        await self.valkey.close()


async def _encryption(settings: Settings, db: Database, clock: Clock) -> Encryption:
    """The deployment's keys; a database that was opened for nothing is closed again."""
    try:
        master = await _master_keys(settings.encryption)
        encryption = Encryption(db, settings.data_dir, master, clock)
        await encryption.start()
    except BaseException:
        await db.close()
        raise
    return encryption


def _search_keys(encryption: Encryption, settings: Settings) -> SearchKeys:
    """Under the tenant's key like what was said; of the deployment's secret, while that lies readable."""
    secret = audit_keys(settings.data_dir, settings.audit.secret).tokens

    async def secret_of(tenant_id: str) -> bytes:
        sealed = await encryption.secret_of_tenant(tenant_id, "search")
        return sealed or hmac.digest(secret, f"search\0{tenant_id}".encode(), hashlib.sha256)

    return SearchKeys(secret_of)


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


def _releases(
    db: Database, connections: ModelConnections, clock: Clock, audit: AuditTrail, detector: Detector
) -> Releases:
    models = ModelRegistry(connections, os.environ, extract=extract)
    return Releases(db, models, clock, train=train_apart, audit=audit, detector=detector)


def _say_unpriced(model: str) -> None:
    logger().warning(
        "no price is known of a model: its calls cost an unknown amount; set HANDRAIL_COSTS__PRICES", model=model
    )


def _turn_limits(settings: Settings, owner: str) -> TurnLimits:
    return TurnLimits(
        deadline_seconds=settings.turn.deadline_seconds,
        first_token_seconds=settings.resilience.first_token_seconds,
        lease_seconds=settings.turn.lease_seconds,
        sweep_seconds=settings.turn.sweep_seconds,
        most_owners=settings.turn.most_owners,
        owner=owner,
        sole_owner=settings.database_url is None,
    )


def _tokens(settings: AuthSettings, clock: Clock, egress: Egress) -> "TokenVerifier | None":
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


def _provider(settings: OidcSettings, clock: Clock, egress: Egress) -> "IdentityProvider | None":
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One rate, as the settings have it."""

    what: str
    per_minute: float
    burst: int


def _rate(clock: Clock, wanted: _Wanted) -> Rate:
    return Rate(RateLimiter(clock, per_minute=wanted.per_minute, burst=wanted.burst, what=wanted.what))


def _sign_ins(settings: Settings) -> _Wanted:
    return _Wanted(SIGN_INS, settings.console.sign_ins_per_minute, settings.console.sign_ins_burst)


def _conversations(settings: Settings) -> _Wanted:
    limits = settings.rate_limit
    per_minute = limits.conversations_per_minute or CONVERSATIONS_A_TURN * limits.turns_per_minute
    return _Wanted("conversations", per_minute, limits.conversations_burst or CONVERSATIONS_A_TURN * limits.burst)


def _requests(settings: Settings) -> _Wanted:
    return _Wanted(REQUESTS, settings.rate_limit.requests_per_minute, settings.rate_limit.requests_burst)


def _failures(settings: Settings) -> _Wanted:
    return _Wanted(FAILURES, settings.rate_limit.failures_per_minute, settings.rate_limit.failures_per_minute)


def _address_rates(settings: Settings, clock: Clock, metrics: Metrics) -> AddressRate:
    local = _rate(clock, _requests(settings)).local
    return AddressRate(local, on_refused=lambda: metrics.refused_by_rate("requests"))


CHANNEL_TESTS = _Wanted("channel tests", 6, 3)


def _feedback(settings: Settings) -> _Wanted:
    return _Wanted("feedback", settings.feedback.per_minute, settings.feedback.burst)


def _tokens_a_minute(settings: Settings) -> _Wanted | None:
    tokens = settings.rate_limit.tokens_per_minute
    # A minute's tokens at once: one long answer must not wait for its own end.
    return _Wanted("tokens", tokens, tokens) if tokens else None


def _rate_limits(settings: Settings, clock: Clock) -> RateLimiter:
    return RateLimiter(clock, per_minute=settings.rate_limit.turns_per_minute, burst=settings.rate_limit.burst)


def _store_permit(breakers: Breakers) -> Permit:
    try:
        return breakers.guard(STORE_KEY)
    except BreakerOpen as refused:
        wait = refused.retry_after_seconds or 1.0
        message = f"the database keeps failing and is left alone for {wait:.0f} s ({refused.message})"
        raise StoreUnavailable(message, retry_after_seconds=wait) from refused


def _breaker_policies(settings: ResilienceSettings, store: StoreSettings) -> Callable[[str], BreakerPolicy]:
    """Models are slow at another length than tools; the database is needed back as soon as it is."""
    database = BreakerPolicy(
        failure_rate=settings.failure_rate,
        slow_seconds=store.timeout_seconds,
        open_seconds=store.open_seconds,
        probes=3,
        concurrent_probes=1,
    )
    model, tool = (
        BreakerPolicy(
            failure_rate=settings.failure_rate,
            slow_seconds=slow_seconds,
            slow_rate=settings.slow_rate,
            open_seconds=settings.open_seconds,
        )
        for slow_seconds in (settings.slow_model_seconds, settings.slow_tool_seconds)
    )
    return lambda key: model if is_model_key(key) else database if key == STORE_KEY else tool


def _retry_policy(settings: ResilienceSettings) -> RetryPolicy:
    backoff = settings.backoff_seconds
    return RetryPolicy(attempts=settings.attempts, base_seconds=backoff, most_seconds=max(5.0, backoff))


def _admission(settings: AdmissionSettings, clock: Clock, metrics: Metrics) -> Admission:
    admission = Admission(
        clock,
        AdmissionLimits(**settings.model_dump(exclude={"connections", "followers_per_tenant"})),
        on_refused=metrics.refused,
    )
    metrics.watch_admission(lambda: admission.running, lambda: admission.waiting)
    return admission


def _background(db: Database, settings: Settings) -> Background:
    return Background(
        outbox=Outbox(db),
        runs=JobRuns(db),
        executors=Executors(db),
        conversations=ConversationRetention(db),
        approvals=ApprovalRetention(db),
        escalations=EscalationRetention(db),
        traces=TraceRetention(),
        feedback=FeedbackRetention(),
        export=ConversationExport(db),
        exports=ExportFolder(settings.data_dir / "exports"),
        subjects=SubjectRecords(db),
        erasures=ErasureLog(db),
        vault=TokenVault(db),
        kept=KeptDays(**settings.retention.model_dump()),
    )


def alerts_over(db: Database, settings: Settings) -> Alerts:
    """Alerts as the settings want them: rules, channels and where links lead."""
    wanted, egress = settings.alerts, settings.egress
    addresses = {name: address.get_secret_value() for name, address in wanted.channels.items()}
    sender = ChildSender(addresses, allow=egress.allow, only_declared=egress.only_declared, seconds=wanted.send_seconds)
    file = wanted.file or settings.data_dir / "alerts.yaml"
    console = wanted.console_url.rstrip("/")
    return Alerts(
        AlertStore(db),
        AlertConfig(file, sender.channels, is_named=wanted.file is not None),
        sender,
        Places(console, wanted.runbook_url or f"{console}/console/runbook"),
        every_seconds=wanted.every_seconds,
        operated_by=wanted.operated_by,
    )


def _traces_lost(metrics: Metrics, alerts: Alerts, reason: str, count: int) -> None:
    """On the way to the database or to a collector: both are counted, and both are looked at by the alert."""
    metrics.traces_dropped(reason, count)
    alerts.lose(reason, count)


def _exporter(settings: Settings, egress: Egress, lost: Callable[[str, int], None]) -> OtlpExporter | None:
    wanted = settings.traces
    if wanted.otlp_url is None:
        return None
    collector = Collector(wanted.otlp_url, headers_of(wanted.otlp_headers.get_secret_value()), wanted.service)
    return OtlpExporter(collector, egress, on_dropped=lost)


def _traces(
    db: Database, settings: Settings, metrics: Metrics, exporter: OtlpExporter | None, alerts: Alerts
) -> TraceWriter:
    wanted, lost = settings.traces, partial(_traces_lost, metrics, alerts)
    redact = partial(redact_text, most=MOST_TRACED_CHARACTERS) if wanted.content == "redacted" else None
    send_on = exporter.offer if exporter else None
    return TraceWriter(db, Sampling(wanted.sample), redact=redact, on_dropped=lost, send_on=send_on)


def audit_trail(settings: Settings, db: Database, clock: Clock) -> AuditTrail:
    """The audit log over this database, with the deployment's own keys."""
    return AuditTrail(db, AuditStore(db), audit_keys(settings.data_dir, settings.audit.secret), clock)


def _owner() -> str:
    """Unique to this process, readable to people."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_id('own')[-8:]}"
