"""`handrail serve` and `handrail demo`: one process that owns its data and answers."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

import handrail
from handrail.bootstrap import services_from
from handrail.cli.certificate import Certificate, ServerLoop
from handrail.cli.listening import address_of, door, listen
from handrail.cli.memory import settle_memory, share_memory
from handrail.cli.workers import READY, Job, Supervisor, prepare
from handrail.core.errors import UsageError
from handrail.core.principal import Principal
from handrail.db.open import prepare_database
from handrail.db.owner import OwnerLock
from handrail.delivery.releases import Release
from handrail.flows import alerting
from handrail.flows.audit import keep as keep_audit
from handrail.flows.gauges import keep as keep_gauges
from handrail.flows.keys import keep as keep_keys
from handrail.flows.leases import keep, recover
from handrail.flows.releases import create_and_use
from handrail.flows.repricing import keep as keep_repricing
from handrail.flows.rollup import keep as keep_rollups
from handrail.flows.services import Services
from handrail.flows.shutdown import drain
from handrail.flows.sign_in import link_at_start
from handrail.flows.spending import keep as keep_spending
from handrail.flows.traces import keep as keep_traces
from handrail.http.app import create_app
from handrail.http.edge import Edge
from handrail.http.protocol import Protocol
from handrail.jobs import running_jobs
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.protection.privacy import redact_event
from handrail.serving.routing import TrainingReport
from handrail.settings import Settings
from handrail.telemetry.logging import configure, logger
from handrail.telemetry.uncaught import uncaught_to_log

SAMPLE_SECONDS = 1.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def example_project(name: str) -> Path:
    """Shipped inside the wheel, or at the root of a checkout."""
    package = Path(handrail.__file__).parent
    shipped = package / "_examples" / name
    return shipped if shipped.exists() else package.parent.parent / "examples" / name


def serve_project(
    project: Path,
    settings: Settings,
    *,
    tenants: Sequence[str] = ("default",),
    welcome: bool = False,
    workers: int = 1,
) -> None:
    """Serve until Ctrl-C or SIGTERM; turns that run are given time to end.

    Raises:
        UsageError: several workers over SQLite, which has one owner.
        AlreadyServed: another process owns the data folder.
        ProjectError: the project can't be used; every problem with its file and line.
    """
    share_memory()
    certificate = Certificate.of(settings)
    os.environ["HANDRAIL_DATA_DIR"] = str(settings.data_dir.resolve())
    configure(redact_event, level=settings.log_level)
    uncaught_to_log()
    if workers > 1:
        asyncio.run(_supervise(project.resolve(), settings, tenants, workers))
        return
    lock = OwnerLock(settings.data_dir) if settings.database_url is None else None
    if lock is not None:
        lock.acquire()
    try:
        with asyncio.Runner(loop_factory=ServerLoop) as runner:
            runner.run(_serve(project, settings, lock, tenants, certificate, welcome=welcome))
    finally:
        if lock is not None:
            lock.release()


async def _serve(
    project: Path,
    settings: Settings,
    lock: OwnerLock | None,
    tenants: Sequence[str],
    certificate: Certificate | None,
    *,
    welcome: bool,
) -> None:
    await prepare_database(settings.url)
    async with services_from(settings) as services:
        _require_safe_binding(settings, services)
        release = await _make_releases(services, project, tenants)
        services.default_agent = release.agent
        listener = listen(settings.host, settings.port)
        address = address_of(settings, listener)
        if lock is not None:
            lock.announce(address)
        _say_hello(address, release.agent, release.id, services, welcome=welcome)
        link = await link_at_start(services)
        _say_link(address, link.body()["path"] if link else "")
        await _answer(services, listener, settings, certificate)


async def _answer(
    services: Services, listener: socket.socket, settings: Settings, certificate: Certificate | None
) -> None:
    """Take turns until a signal, and let them end."""
    server = _Server(services, listener.getsockname()[1], settings, certificate)
    async with running_jobs(services, settings):
        settle_memory()
        _warn_of_plain_text(settings)
        if services.limits.sole_owner:
            await recover(services)
        keepers = [
            *keep(services),
            *keep_audit(services),
            keep_keys(services),
            keep_rollups(services),
            *keep_traces(services),
            keep_gauges(services),
        ]
        if settings.alerts.enabled:
            keepers += alerting.keep(services)
        keepers += keep_spending(services)
        keepers.append(keep_repricing(services))
        await server.serve(sockets=[listener])
        # Leases are renewed while turns end; nothing is taken over any more.
        with server.capture_signals():
            await server.drained()
        for keeper in keepers:
            keeper.cancel()
        await alerting.close(services)


async def _supervise(project: Path, settings: Settings, tenants: Sequence[str], workers: int) -> None:
    """Make the releases once, and look after the processes that answer."""
    if settings.database_url is None:
        raise UsageError(
            f"{workers} workers need PostgreSQL: one process owns a SQLite database; name one with --database-url, "
            "or leave --workers out"
        )
    listener = listen(settings.host, settings.port)
    given = settings.model_dump(mode="json", include={"host", "data_dir", "database_url", "log_level", "tls"})
    job = Job(str(project), list(tenants), given, listener.fileno(), 0)
    made = await prepare(job)
    address = address_of(settings, listener)
    print(f"Handrail serves agent {made['agent']!r}, release {made['release_id']}, on {address}", flush=True)
    _say_link(address, made["sign_in"])
    supervisor = Supervisor(
        replace(job, agent=made["agent"]), listener, workers, drain_seconds=settings.turn.drain_seconds
    )
    await supervisor.run()


async def prepare_releases(project: Path, settings: Settings, tenants: Sequence[str]) -> dict[str, str]:
    """What the supervisor's first process does: bring the database up to date, make the releases and use them."""
    configure(redact_event, level=settings.log_level)
    uncaught_to_log()
    async with services_from(settings) as services:
        _require_safe_binding(settings, services)
        release = await _make_releases(services, project, tenants)
        link = await link_at_start(services)
        return {"agent": release.agent, "release_id": release.id, "sign_in": link.body()["path"] if link else ""}


async def serve_as_worker(listener: socket.socket, settings: Settings, agent: str, tenants: Sequence[str]) -> None:
    """What a worker does: load what answers, say that it is ready, and answer."""
    configure(redact_event, level=settings.log_level)
    uncaught_to_log()
    async with services_from(settings) as services:
        services.default_agent = agent
        for tenant in dict.fromkeys(tenants):
            if (stable := await services.releases.stable(tenant, agent)) is not None:
                await services.releases.load(tenant, stable)
        loop = asyncio.get_running_loop()
        sampling = loop.create_task(_sample(services))
        certificate = Certificate.of(settings)
        if certificate is not None:
            # Whoever is ready is told of new files, and would end of it without a handler.
            loop.add_signal_handler(signal.SIGHUP, certificate.renew)
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        await _answer(services, listener, settings, certificate)
        sampling.cancel()


async def _sample(services: Services) -> None:
    while True:
        services.metrics.sample()
        await asyncio.sleep(SAMPLE_SECONDS)


async def _make_releases(services: Services, project: Path, tenants: Sequence[str]) -> Release:
    """The release of what is on disk, for every tenant. Training is said before and after: it takes seconds."""
    print(f"Handrail reads {str(project)!r} and trains its intents if they changed", file=sys.stderr, flush=True)

    def say(report: TrainingReport) -> None:
        print(f"  intents: {report.sentence()}", file=sys.stderr, flush=True)

    made = [
        await create_and_use(services.releases, project, Principal(tenant, LOCAL_OPERATOR.subject), on_trained=say)
        for tenant in dict.fromkeys(tenants)
    ]
    return made[0]


def _require_safe_binding(settings: Settings, services: Services) -> None:
    if settings.host not in LOOPBACK and not services.authenticator.has_keys:
        raise UsageError(
            f"host {settings.host!r} can be reached from other machines and there are no API keys, so anybody could "
            "use the agent; make a key with `handrail keys create` first, or bind to 127.0.0.1"
        )


def _warn_of_plain_text(settings: Settings) -> None:
    if settings.host not in LOOPBACK and not settings.tls.is_on and not settings.http.proxies:
        logger().warning(
            "keys and conversations cross the network unencrypted; give --tls-cert and --tls-key, "
            "or declare the proxy that speaks TLS by HANDRAIL_HTTP__TRUSTED_PROXIES",
            host=settings.host,
        )


def _say_hello(address: str, agent: str, release_id: str, services: Services, *, welcome: bool) -> None:
    print(f"Handrail serves agent {agent!r}, release {release_id}, on {address}", flush=True)
    for line in services.releases.describe_models():
        print(f"  model {line}", flush=True)
    if not services.authenticator.has_keys:
        print("  no API keys yet: only this machine can connect (make one with `handrail keys create`)", flush=True)
    if welcome:
        print(f'  open {address} and ask "where is my order A1001?"; Ctrl-C stops', flush=True)


def _say_link(address: str, path: str) -> None:
    if path:
        print(f"  sign in to the console, once and within ten minutes: {address}{path}", flush=True)


class _Server(uvicorn.Server):
    """uvicorn that stops admitting turns at the first signal and ends at once at the second."""

    def __init__(
        self, services: Services, port: int, settings: Settings, certificate: Certificate | None = None
    ) -> None:
        drain_seconds, edge = settings.turn.drain_seconds, Edge.of(settings)
        config = uvicorn.Config(
            create_app(
                services,
                port=port,
                most_open=settings.admission.connections,
                most_followers=settings.admission.followers_per_tenant,
                most_streams=settings.http.streams_per_principal,
                edge=edge,
            ),
            loop="none",
            http=partial(Protocol, door=door(settings), headers=edge.headers),  # pyright: ignore[reportArgumentType] - called like a class
            ws="websockets-sansio",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            # Ours looks behind declared proxies only; uvicorn's would believe everybody at this machine.
            proxy_headers=False,
            timeout_keep_alive=75,
            # The turns that the drain stops at its end still have their clients to tell.
            timeout_graceful_shutdown=round(drain_seconds) + 2,
            ws_max_size=256 * 1024,
            ssl_context_factory=certificate.for_server if certificate else None,
        )
        super().__init__(config)
        self._services = services
        self._certificate = certificate
        # Without files to read again, SIGHUP ends the process as it always does.
        self._renews = certificate is not None or settings.alerts.file is not None
        self._drain_seconds = drain_seconds
        self._draining: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        if self._renews:
            loop.add_signal_handler(signal.SIGHUP, self._renew)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if self._renews else ())):
                loop.remove_signal_handler(number)

    def _renew(self) -> None:
        if self._certificate is not None:
            self._certificate.renew()
        alerting.renew(self._services, anyway=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # At once, beside uvicorn's own wait for connections: those of running turns end with their turns.
        if self._draining is not None:
            # uvicorn itself would hurry at a second SIGINT only.
            self.force_exit = True
            self._hurry.set()
        else:
            self._draining = asyncio.get_running_loop().create_task(drain(self._services, self._drain_seconds))
        super().handle_exit(sig, frame)

    async def drained(self) -> None:
        """Wait for the turns to end; at a second signal, which may come while they do, stop them now."""
        if self._draining is not None:
            hurry = asyncio.get_running_loop().create_task(self._hurry.wait())
            await asyncio.wait({self._draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            if self._draining.done():
                return
            self._draining.cancel()
        await drain(self._services, 0.0)
