"""One rule for sums of money: each has its currency, and two are netted only where somebody says the rate.

Models are priced in US dollars. No rates are known offline: the operator says what one unit of a currency is in them.
"""

USD = "USD"


def in_usd(currency: str, usd: float | None) -> float | None:
    """What one unit of a currency is in US dollars, given what the operator says of it; None where nobody does."""
    return 1.0 if currency == USD else usd
