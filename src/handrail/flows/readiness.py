"""Can this process take turns, and what of the ten practices is on? Reported, never assumed."""

from typing import Any

from handrail.core.errors import HandrailError
from handrail.flows.services import Services

# What a later practice or a setting will bring; `docs/status.md` says the same and a test holds them together.
OFF = (
    "budgets",
    "caching",
    "encryption_at_rest",
    "evaluations",
    "reviews",
    "rollouts",
    "takeover",
)


async def readiness(services: Services) -> tuple[bool, dict[str, Any]]:
    """Whether turns can be taken now, and the picture behind it."""
    checks: dict[str, Any] = {"store": await _store(services), "admitting": not services.draining}
    ready = checks["store"] == "ok" and checks["admitting"]
    body = {
        "status": "ready" if ready else "not_ready",
        "checks": checks,
        "models": services.releases.describe_models(),
        "authentication": services.authenticator.describe(),
        "prices": _prices(services),
        "jobs": services.background.engine.state,
        "shared_state": _shared_state(services),
        "running_turns": len(services.running),
        "off": _off(services),
    }
    return ready, body


def _off(services: Services) -> list[str]:
    on = {"encryption_at_rest"} if services.encryption.is_on else set[str]()
    return [each for each in OFF if each not in on]


def _prices(services: Services) -> str:
    """Never a reason not to be ready: what has no price costs an unknown amount."""
    unknown = services.prices.unknown
    return f"unknown: {', '.join(unknown)}" if unknown else f"known: {services.prices.count}"


def _shared_state(services: Services) -> str:
    """Never a reason not to be ready: without it this process goes on alone."""
    if services.valkey is None:
        return "none: this process counts for itself"
    return "ok" if services.valkey.is_up else "unreachable: this process counts for itself"


async def _store(services: Services) -> str:
    try:
        await services.conversations.ping()
    except HandrailError as error:
        return error.message
    return "ok"
