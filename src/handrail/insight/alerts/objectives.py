"""What an alert holds an agent to: its own objective, unless `alerts.yaml` names another, which is then said."""

from collections.abc import Mapping, Sequence

from handrail.core.latency import LATENCY_CLASSES
from handrail.insight.alerts.schema import LatencySlo, Rules
from handrail.insight.alerts.signals import Objective


def limits(rule: LatencySlo, own: Objective) -> Mapping[str, float]:
    """By latency class, after how many seconds a turn is slow."""
    return own.latency_seconds if rule.target_seconds is None else dict.fromkeys(LATENCY_CLASSES, rule.target_seconds)


def differing(rules: Rules, own: Objective) -> Mapping[str, Sequence[str]]:
    """By rule, where `alerts.yaml` holds the agent to something else than its own `agent.yaml` does."""
    shares = {
        "availability_slo": (rules.availability_slo.objective, own.availability),
        "latency_slo": (rules.latency_slo.objective, own.latency_share),
    }
    found: dict[str, list[str]] = {}
    for name, (wanted, stated) in shares.items():
        if wanted is not None and wanted != stated:
            found.setdefault(name, []).append(f"alerts.yaml says {wanted * 100:g}%, agent.yaml {stated * 100:g}%")
    wanted = rules.latency_slo.target_seconds
    others = {name: limit for name, limit in own.latency_seconds.items() if limit != wanted}
    if wanted is not None and others:
        told = ", ".join(f"{name} {limit:g} s" for name, limit in others.items())
        found.setdefault("latency_slo", []).append(f"alerts.yaml says {wanted:g} s, agent.yaml {told}")
    return found
