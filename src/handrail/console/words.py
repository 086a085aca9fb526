"""Words of the pages: moments, counts, names and sums as people read them, and the link behind a number."""

from collections.abc import Mapping
from urllib.parse import urlencode

from markupsafe import Markup

_SHORT = {"slo": "SLO", "sla": "SLA", "csat": "CSAT", "nps": "NPS", "api": "API"}


def moment(at: str | None) -> Markup:
    """A time of the API (`2026-11-27T13:46:22.418Z`) to the minute, with its zone; the exact one on pointing at it."""
    if not at:
        return Markup("")
    return Markup('<time datetime="{at}" title="{at}">{day} {minute} UTC</time>').format(
        at=at, day=at[:10], minute=at[11:16]
    )


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 turn`, `1,224 turns`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def spoken(name: str) -> str:
    """A name of the settings as a heading: `latency_slo` is `Latency SLO`."""
    words = [_SHORT.get(word, word) for word in name.split("_")]
    return " ".join(words)[:1].upper() + " ".join(words)[1:]


def dollars(micros: int, currency: str = "USD") -> str:
    """Money from micro-units: cents, and four places below ten cents, where cents say nothing."""
    amount = micros / 1e6
    return f"{amount:,.4f} {currency}" if 0 < abs(amount) < 0.1 else f"{amount:,.2f} {currency}"


def lasting(seconds: float) -> str:
    """For how long: `at once`, `60 s`, `5 min`, `2 h`."""
    if seconds <= 0:
        return "at once"
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:g} h"


def shortened(value: str, most: int = 24) -> str:
    """A long label by its beginning; pseudonyms are told apart by that."""
    return value if len(value) <= most else f"{value[: most - 8]}…"


def conversations_link(chosen: Mapping[str, str], **more: str) -> str:
    """The list of the conversations that a number counts."""
    return f"/console/conversations?{urlencode({**chosen, **more})}"
