"""Writes breakeven.json: random cases of `tender breakeven`, worked out without any of Tender's code.

    python -m pip install numpy-financial==1.0.0
    python breakeven.py > breakeven.json

The annuity is numpy-financial's `pmt`; the break-even is found by bisection on the two yearly bills, not by the
formula.
"""

import json
import random

import numpy_financial as npf

random.seed(20261121)


def bill(c, u):
    """USD of a year at utilisation u, and millions of tokens of text made in it."""
    n = c["cards"]
    resale = c["resale_fraction"] * c["price_usd"]
    capital = -npf.pmt(c["discount_rate"], c["lifetime_years"], c["price_usd"], -resale)
    kwh = lambda watts, hours: watts / c["psu_efficiency"] * (1 + c["cooling_overhead"]) * hours / 1000
    active = kwh(c["gpu_watts"] + c["host_watts"], 8760 * u) * c["tariff_usd_per_kwh"]
    idle = kwh(c["idle_watts"], 8760 * (1 - u)) * c["tariff_usd_per_kwh"]
    parts = [
        n * capital,
        n * c["maintenance_fraction"] * c["price_usd"],
        n * idle,
        n * active,
        n * c["opportunity_usd_per_active_hour"] * 8760 * u,
    ]
    per_token = 1 / c["tokens_per_second"]
    if c["input_output_ratio"]:
        per_token += c["input_output_ratio"] / c["prefill_tokens_per_second"]
    return parts, n * 8760 * 3600 * u / per_token / 1e6


def api(c, millions):
    return millions * (c["api_usd_per_million"] + c["input_output_ratio"] * c["api_usd_per_million_input"])


def flip(c):
    """The utilisation at which both bills are equal, or None."""
    gain = lambda u: api(c, bill(c, u)[1]) - sum(bill(c, u)[0])
    high = 1.0
    while gain(high) < 0:
        high *= 2
        if high > 1e6:
            return None
    low = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gain(middle) < 0 else (low, middle)
    return high


cases = []
for _ in range(60):
    c = {
        "price_usd": round(random.uniform(200, 4000), 2),
        "resale_fraction": round(random.uniform(0, 0.7), 3),
        "lifetime_years": random.choice([1, 2, 3, 4, 5, 2.5]),
        "discount_rate": random.choice([0, 0.02, 0.08, 0.15]),
        "gpu_watts": round(random.uniform(80, 600), 1),
        "host_watts": round(random.uniform(0, 150), 1),
        "idle_watts": round(random.uniform(0, 60), 1),
        "psu_efficiency": round(random.uniform(0.75, 1), 3),
        "cooling_overhead": random.choice([0, 0.1, 0.35]),
        "maintenance_fraction": random.choice([0, 0.03, 0.1]),
        "tariff_usd_per_kwh": round(random.uniform(0.02, 0.5), 3),
        "opportunity_usd_per_active_hour": random.choice([0, 0.05, 0.3]),
        "tokens_per_second": round(random.uniform(20, 2000), 2),
        "utilisation": round(random.uniform(0.02, 1), 3),
        "api_usd_per_million": round(random.uniform(0.02, random.choice([0.3, 1, 15])), 3),
        "api_usd_per_million_input": round(random.uniform(0.005, 0.2), 3),
        "input_output_ratio": random.choice([0, 0.5, 2, 8]),
        "prefill_tokens_per_second": round(random.uniform(200, 20000), 1),
        "cards": random.choice([1, 1, 2, 4]),
    }
    parts, millions = bill(c, c["utilisation"])
    at = flip(c)
    names = ("capital", "maintenance", "idle_energy", "active_energy", "opportunity")
    output = {f"{name}_usd_per_year": part for name, part in zip(names, parts)} | {
        "total_usd_per_year": sum(parts),
        "usd_per_million_tokens": sum(parts) / millions,
        "marginal_usd_per_million_tokens": (parts[3] + parts[4]) / millions,
        "usd_per_active_hour": sum(parts) / (8760 * c["utilisation"]),
    }
    found = {
        "tokens_per_day": None if at is None else bill(c, at)[1] * 1e6 / 365,
        "utilisation": at,
        "reachable": at is not None and at <= 1,
    }
    cases.append({"input": c, "output": output, "breakeven": found})
print("[\n " + ",\n ".join(json.dumps(case) for case in cases) + "\n]")
