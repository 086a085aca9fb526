"""What the price list knows of some models: run as a program of its own, for the list takes 27 MB in memory.

Reads `[[url, model], ...]` and writes `{"list": "<name and version>", "prices": [<schedule> or null, ...]}`, as JSON.
Nothing of Handrail is imported.
"""

import json
import sys
import warnings
from datetime import UTC, date, datetime, time
from typing import Any

_SOME_DAY = date(2000, 1, 3)
_SIMPLE = {"input": "input_mtok", "output": "output_mtok", "cached": "cache_read_mtok"}


def main() -> None:
    """One answer for one question."""
    warnings.simplefilter("ignore")
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    asked = json.load(sys.stdin)
    found = [schedule_of(snapshot, url, model) for url, model in asked]
    json.dump({"list": f"genai-prices {genai_prices.__version__}", "prices": found}, sys.stdout)


def schedule_of(snapshot: Any, url: str, model: str) -> list[dict[str, Any]] | None:
    """When which rates hold; None when the list does not know the model there, or no price by tokens."""
    try:
        _, info = snapshot.find_provider_model(model, None, None, url)
    except LookupError:
        return None
    prices = info.prices if isinstance(info.prices, list) else [None]
    schedule = [
        {"when": _when(each and each.constraint), "rates": _rates(each.prices if each else info.prices)}
        for each in prices
    ]
    return schedule if all({"input", "output"} & each["rates"].keys() for each in schedule) else None


def _rates(prices: Any) -> dict[str, Any]:
    rates: dict[str, Any] = {
        name: _rate(value) for name, key in _SIMPLE.items() if (value := getattr(prices, key)) is not None
    }
    if prices.requests_kcount is not None:
        rates["request"] = str(prices.requests_kcount)
    return rates


def _rate(price: Any) -> dict[str, Any]:
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return {"base": str(price), "tiers": []}
    return {"base": str(price.base), "tiers": [[tier.start, str(tier.price)] for tier in tiers]}


def _when(constraint: Any) -> dict[str, int]:
    if constraint is None:
        return {}
    if hasattr(constraint, "start_date"):
        return {"since": int(datetime.combine(constraint.start_date, time(), UTC).timestamp()) * 1_000_000}
    return {"from": _micros(constraint.start_time), "until": _micros(constraint.end_time)}


def _micros(value: time) -> int:
    moved = value if value.tzinfo is None else datetime.combine(_SOME_DAY, value).astimezone(UTC).time()
    return ((moved.hour * 60 + moved.minute) * 60 + moved.second) * 1_000_000 + moved.microsecond


if __name__ == "__main__":
    main()
