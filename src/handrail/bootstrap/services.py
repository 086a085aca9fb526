"""Everything that the flows need, opened, and closed in the other order, whatever fails on the way."""

import os
import random
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from handrail.bootstrap.insight import alerts_over, exporter_of, price_book, trace_writer
from handrail.bootstrap.protection import (
    audit_trail,
    encryption_over,
    identity_provider,
    search_keys,
    token_verifier,
)
from handrail.bootstrap.rates import (
    CHANNEL_TESTS,
    address_rates,
    conversation_terms,
    failure_terms,
    feedback_terms,
    rate_of,
    sign_in_terms,
    token_terms,
    turn_rates,
)
from handrail.bootstrap.resilience import admission, breaker_policies, retry_policy, store_permit
from handrail.bootstrap.shared import Shared
from handrail.core.clock import Clock, SystemClock
from handrail.core.ids import new_id
from handrail.db import Database
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
from handrail.insight.costs import UsageStore
from handrail.insight.feedback import FeedbackRetention, FeedbackRules, FeedbackStore
from handrail.insight.scorecard import FactStore
from handrail.insight.search import SearchStore
from handrail.insight.traces import TraceRetention
from handrail.oversight.approvals import ApprovalRetention, ApprovalStore
from handrail.oversight.escalations import EscalationRetention, EscalationStore
from handrail.protection.audit import AuditTrail, Spool, audit_keys
from handrail.protection.auth import (
    Authenticator,
    IdentityProvider,
    KeyStore,
    SessionLimits,
    SessionStore,
    SignInLinks,
    operator_token,
)
from handrail.protection.encryption import Encryption, ErasureLog
from handrail.protection.guardrails import Detector, KnownStrings, OutputScanner, read_thresholds
from handrail.protection.privacy import Mint, Privacy, TokenVault
from handrail.protection.rate_limits import Rate
from handrail.serving.context import extract
from handrail.serving.conversations import (
    ConversationExport,
    ConversationRetention,
    ConversationStore,
    ExportFolder,
    LeaseStore,
    Streams,
    SubjectRecords,
)
from handrail.serving.models import ModelConnections, ModelRegistry
from handrail.serving.resilience import (
    Breakers,
    Bulkhead,
    LastGood,
    Retries,
    SharedBreakers,
    Switchboard,
    SwitchStore,
)
from handrail.serving.routing import train_apart
from handrail.serving.tools import ToolRunner
from handrail.settings import Settings
from handrail.shared_state import Bus, LocalBus
from handrail.telemetry.logging import keep_off_standard_output
from handrail.telemetry.metrics import Metrics

DAYS = {"off": 0, "daily": 1, "weekly": 7}


@asynccontextmanager
async def services_from(settings: Settings, clock: Clock | None = None) -> AsyncGenerator[Services]:
    """Open everything, hand it out, and close it in the other order."""
    keep_off_standard_output()
    async with AsyncExitStack() as opened:
        ground = await _ground(settings, clock or SystemClock(), opened)
        doors = await _doors(settings, ground, opened)
        services = _services(settings, ground, doors, opened)
        services.releases.on_loaded = partial(learn_prices, services)
        ground.mirror.hear(services.breakers)
        ground.bus.listen(LOOK, lambda _: services.look.set())
        if ground.shared:
            opened.push_async_callback(ground.shared.close)
            await ground.shared.serve(services, settings, doors.failures)
        await _before_anybody_is_answered(services)
        if services.address_rates is not None:
            opened.push_async_callback(services.address_rates.close)
        opened.push_async_callback(audit_flow.close, services)
        opened.push_async_callback(traces_flow.close, services)
        yield services


async def _before_anybody_is_answered(services: Services) -> None:
    """What is off stays off, and who was erased stays erased."""
    services.switches.show(await services.switch_store.off())
    await replay(services)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What all else stands on."""

    clock: Clock
    metrics: Metrics
    owner: str
    shared: Shared | None
    bus: Bus
    mirror: SharedBreakers
    breakers: Breakers
    encryption: Encryption
    db: Database
    egress: Egress
    audit: AuditTrail


async def _ground(settings: Settings, clock: Clock, opened: AsyncExitStack) -> _Ground:
    metrics, owner = Metrics(os.environ.get("PROMETHEUS_MULTIPROC_DIR")), _owner()
    shared = Shared.of(settings, owner, metrics) if settings.valkey_url else None
    bus: Bus = shared.bus if shared else LocalBus()
    mirror, policies = SharedBreakers(bus), breaker_policies(settings.resilience, settings.store)
    breakers = Breakers(clock, policies, mirror=mirror, on_change=metrics.breaker_changed)
    guard = partial(store_permit, breakers)
    unsealed = await open_database(settings.url, clock, seconds=settings.store.timeout_seconds, guard=guard)
    opened.push_async_callback(unsealed.close)
    encryption = await encryption_over(settings, unsealed, clock)
    opened.push_async_callback(encryption.close)
    db, egress = encryption.sealed(SEALED), Egress(settings.egress.rules)
    audit = audit_trail(settings, db, clock)
    return _Ground(clock, metrics, owner, shared, bus, mirror, breakers, encryption, db, egress, audit)


@dataclass(frozen=True, slots=True)
class _Doors:
    """Who may come in."""

    keys: KeyStore
    authenticator: Authenticator
    provider: IdentityProvider | None
    failures: Rate


async def _doors(settings: Settings, ground: _Ground, opened: AsyncExitStack) -> _Doors:
    clock, metrics, keys = ground.clock, ground.metrics, KeyStore(ground.db)
    failures = rate_of(clock, failure_terms(settings))
    attempts = FailedAttempts(failures, ground.audit, clock, lambda: metrics.refused_by_rate("credentials"))
    provider = identity_provider(settings.oidc, clock, ground.egress)
    if provider is not None:
        opened.push_async_callback(provider.close)
    operator, tokens = operator_token(settings.data_dir), token_verifier(settings.auth, clock, ground.egress)
    authenticator = Authenticator(keys, clock, operator, tokens, attempts, closed=provider is not None)
    opened.push_async_callback(authenticator.close)
    await authenticator.start()
    return _Doors(keys, authenticator, provider, failures)


def _services(settings: Settings, ground: _Ground, doors: _Doors, opened: AsyncExitStack) -> Services:
    clock, db, metrics, audit = ground.clock, ground.db, ground.metrics, ground.audit
    resilience, shared = settings.resilience, ground.shared
    alerts = alerts_over(db, settings)
    exporter = exporter_of(settings, ground.egress, metrics, alerts)
    connections = ModelConnections(egress=ground.egress)
    opened.push_async_callback(connections.close)
    tool_runner = ToolRunner(most_threads=settings.tools.threads, most_result_bytes=settings.tools.result_bytes)
    opened.callback(tool_runner.close)
    privacy = Privacy(Mint(audit_keys(settings.data_dir, settings.audit.secret).tokens), TokenVault(db))
    detector = Detector(thresholds=read_thresholds(settings.data_dir))
    models = ModelRegistry(connections, os.environ, extract=extract)
    return Services(
        clock=clock,
        db=db,
        limits=_turn_limits(settings, ground.owner),
        authenticator=doors.authenticator,
        keys=doors.keys,
        sessions=SessionStore(db, SessionLimits(settings.console.idle_minutes * 60, settings.console.hours * 3600)),
        links=SignInLinks(db),
        sign_in_rates=rate_of(clock, sign_in_terms(settings)),
        rate_limits=turn_rates(settings, clock),
        conversation_rates=rate_of(clock, conversation_terms(settings)),
        token_rates=rate_of(clock, wanted) if (wanted := token_terms(settings)) else None,
        address_rates=address_rates(settings, clock, metrics),
        provider=doors.provider,
        conversations=ConversationStore(db),
        leases=LeaseStore(db),
        streams=Streams(shared.streams.tap if shared else None),
        releases=Releases(db, models, clock, train=train_apart, audit=audit, detector=detector),
        tool_runner=tool_runner,
        escalations=EscalationStore(db),
        usage=UsageStore(db),
        prices=price_book(settings),
        budgets=settings.costs.budgets,
        feedback=FeedbackStore(db),
        feedback_rates=rate_of(clock, feedback_terms(settings)),
        channel_tests=rate_of(clock, CHANNEL_TESTS),
        feedback_rules=FeedbackRules(settings.feedback.csat, settings.feedback.currency, settings.feedback.usd),
        facts=FactStore(db),
        search=SearchStore(db, search_keys(ground.encryption, settings)),
        traces=trace_writer(db, settings, metrics, exporter, alerts),
        trace_export=exporter,
        approvals=ApprovalStore(db),
        audit=audit,
        breakers=ground.breakers,
        retries=Retries(random.Random(), retry_policy(resilience), on_retry=metrics.retried),
        bulkhead=Bulkhead(lambda key: resilience.tool_calls, wait_seconds=resilience.tool_wait_seconds),
        admission=admission(settings.admission, clock, metrics),
        last_good=LastGood(clock, ttl_seconds=resilience.last_good_seconds),
        switches=Switchboard(),
        switch_store=SwitchStore(db),
        background=_background(db, settings),
        encryption=ground.encryption,
        privacy=privacy,
        metrics=metrics,
        alerts=alerts,
        detector=detector,
        output_scanner=OutputScanner(KnownStrings.of_environment(os.environ), privacy.finder.personal_in),
        bus=ground.bus,
        commands=Spool(settings.data_dir),
        digest_days=DAYS[settings.alerts.digest],
        log_days=DAYS[settings.jobs.conversation_log],
    )


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


def _owner() -> str:
    """Unique to this process, readable to people."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_id('own')[-8:]}"
