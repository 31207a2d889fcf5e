"""What a model call costs, from the price list that comes with genai-prices; nothing is fetched.

Importing this module takes a few tenths of a second, so that it is done in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from genai_prices import Usage, calc_price, extract_usage

PROVIDER = "anthropic"
MILLION = 1_000_000


def cost_of(model: str, usage: Mapping[str, object]) -> float | None:
    """US dollars for one answer. usage: as the API gave it. None for a model that has no known price."""
    try:
        extracted = extract_usage({"model": model, "usage": dict(usage)}, provider_id=PROVIDER)
        return float(extracted.calc_price().total_price)
    except (LookupError, ValueError):
        return None


def window_of(model: str) -> int | None:
    """How many tokens the model takes; None for one that the list does not know."""
    try:
        return calc_price(Usage(input_tokens=1), model, provider_id=PROVIDER).model.context_window
    except (LookupError, ValueError):
        return None


def price_of_million(model: str) -> tuple[float | None, float | None]:
    """US dollars for a million tokens in and out, at the rate of a short request; None where unknown."""
    return _price(model, Usage(input_tokens=1000)), _price(model, Usage(output_tokens=1000))


def _price(model: str, usage: Usage) -> float | None:
    try:
        price = calc_price(usage, model, provider_id=PROVIDER).total_price
    except (LookupError, ValueError):
        return None
    return float(price * Decimal(MILLION) / Decimal(1000))
