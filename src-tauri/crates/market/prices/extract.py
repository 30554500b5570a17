"""Writes api_prices.json: what the large providers ask per million tokens, out of the package genai-prices (MIT).

    python -m pip install genai-prices==0.2.3
    python extract.py 2026-11-21 > api_prices.json

The argument is the day on which the package was taken. Prices are in micro-USD per million tokens, that is, in USD
times a million. Left out: models priced by anything but tokens, the dearer tiers of very long prompts, cached
prompts, and matching rules beyond "equals" and "starts with". A price that depends on the time of day is the basic
one, and its row says so.
"""

import datetime
import importlib.metadata
import json
import sys
from decimal import Decimal

from genai_prices.data import providers

PROVIDERS = ("anthropic", "deepseek", "google", "groq", "mistral", "openai", "x-ai")


def amount(price):
    """The basic price in micro-USD, or None when there is none."""
    price = getattr(price, "base", price)
    if price is None:
        return None
    exact = Decimal(price) * 1_000_000
    if exact != exact.to_integral_value():
        raise SystemExit(f"{price} is no whole number of micro-USD")
    return int(exact)


def clauses(match, wanted):
    """The texts of all `wanted` clauses that suffice alone to match."""
    if hasattr(match, "or_"):
        return [text for part in match.or_ for text in clauses(part, wanted)]
    text = getattr(match, wanted, None)
    return [text.lower()] if isinstance(text, str) else []


def prices(model):
    """(first day or None, prompt, text) for each price of a model, and whether it varies over the day."""
    listed = model.prices if isinstance(model.prices, list) else None
    if listed is None:
        return [(None, model.prices)], False
    dated, varies = [], False
    for entry in listed:
        start = getattr(entry.constraint, "start_date", None)
        if entry.constraint is None or start is not None:
            dated.append((start, entry.prices))
        else:
            varies = True
    return dated, varies


rows = []
for provider in providers:
    if provider.id not in PROVIDERS:
        continue
    for model in provider.models:
        dated, varies = prices(model)
        for start, price in dated:
            prompt, text = amount(price.input_mtok), amount(price.output_mtok)
            if prompt is None or text is None:
                continue
            row = {"provider": provider.id, "model": model.id.lower()}
            names = sorted(set(clauses(model.match, "equals")) - {row["model"]})
            prefixes = sorted(set(clauses(model.match, "starts_with")))
            if names:
                row["names"] = names
            if prefixes:
                row["prefixes"] = prefixes
            if start:
                row["from"] = start.isoformat()
            if varies:
                row["varies_by_hour"] = True
            rows.append(row | {"prompt": prompt, "text": text})

head = {
    "source": "genai-prices",
    "version": importlib.metadata.version("genai-prices"),
    "licence": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present; see LICENSE beside this file",
    "taken_on": datetime.date.fromisoformat(sys.argv[1]).isoformat(),
}
text = json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n  '
print(text + ",\n  ".join(json.dumps(row) for row in rows) + "\n ]\n}")
