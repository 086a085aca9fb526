"""Traces, alerts and prices, by the settings."""

from functools import partial

from handrail.db import Database
from handrail.egress import Egress
from handrail.insight.alerts import AlertConfig, Alerts, AlertStore, ChildSender, Places
from handrail.insight.costs import PriceBook, PriceList
from handrail.insight.traces import Collector, OtlpExporter, Sampling, TraceWriter
from handrail.insight.traces.exporter import headers_of
from handrail.protection.privacy import redact_text
from handrail.settings import Settings
from handrail.telemetry.logging import logger
from handrail.telemetry.metrics import Metrics

# A text on a span helps to see what it was about; all of it is in the transcript.
MOST_TRACED_CHARACTERS = 4_000


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


def exporter_of(settings: Settings, egress: Egress, metrics: Metrics, alerts: Alerts) -> OtlpExporter | None:
    """What sends traces to a collector as well, when one is named."""
    wanted = settings.traces
    if wanted.otlp_url is None:
        return None
    collector = Collector(wanted.otlp_url, headers_of(wanted.otlp_headers.get_secret_value()), wanted.service)
    return OtlpExporter(collector, egress, on_dropped=partial(_traces_lost, metrics, alerts))


def trace_writer(
    db: Database, settings: Settings, metrics: Metrics, exporter: OtlpExporter | None, alerts: Alerts
) -> TraceWriter:
    wanted, lost = settings.traces, partial(_traces_lost, metrics, alerts)
    redact = partial(redact_text, most=MOST_TRACED_CHARACTERS) if wanted.content == "redacted" else None
    send_on = exporter.offer if exporter else None
    return TraceWriter(db, Sampling(wanted.sample), redact=redact, on_dropped=lost, send_on=send_on)


def price_book(settings: Settings) -> PriceBook:
    """Prices of the settings before those of the list; a model without one is told."""
    return PriceBook(settings.costs.prices, PriceList(settings.data_dir / "prices.json"), _say_unpriced)


def _say_unpriced(model: str) -> None:
    logger().warning(
        "no price is known of a model: its calls cost an unknown amount; set HANDRAIL_COSTS__PRICES", model=model
    )
