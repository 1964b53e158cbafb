"""The tables of the page: items, buyers, outcomes, latencies, replies, stations, environment."""

from __future__ import annotations

from typing import Any

import numpy as np

from doorbuster.comparison.estimates import Estimate, over_replications
from doorbuster.measures.columns import OUTCOMES, REPLIES, STEPS
from doorbuster.measures.intervals import Interval
from doorbuster.measures.latency import LatencyRow, latency_rows
from doorbuster.measures.outcomes import outcome_counts_by_persona, reply_counts
from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.sales import (
    first_gone_s,
    sell_out_s,
    sold_units,
    stock_shares,
)
from doorbuster.report.numbers import count, duration, percent, quantity
from doorbuster.report.sides import Side
from doorbuster.vocabulary import Outcome

ENVIRONMENT = (
    "doorbuster", "engine", "target", "profile_name", "started_utc", "wall_s", "seed",
    "replications", "load_factor", "window", "compress", "plan_count", "plan_hash",
    "scenario_hash", "scenario_path", "python", "platform", "processor_count",
)  # fmt: skip
"""Facts of run.json that are shown under their own names."""

_FACTORS = ("load_factor", "compress")
_LONG_S = 600.0
_READ_LATE_S = 0.02  # a reading that is planned for 1.5 s is taken a little later


def item_rows(sides: list[Side]) -> list[dict[str, Any]]:
    """One row an item and run: stock, units sold, when it ran out, when the last unit was paid."""
    return [
        {
            "sku": sku,
            "stock": _stock(side.records, item),
            "side": side.label,
            "role": side.role,
            **_item(side.records, item),
        }
        for item, sku in enumerate(sides[0].records.scenario.skus)
        for side in sides
    ]


def _stock(records: RunRecords, item: int) -> str:
    """Units at the opening, or what a bundle is made of."""
    bundle = records.scenario.shop.items[item].bundle
    if bundle is None:
        return count(records.stock_units[item])
    return " + ".join(f"{units} {sku}" for sku, units in sorted(bundle.items()))


def _item(records: RunRecords, item: int) -> dict[str, str]:
    units, item_count = records.stock_units[item], len(records.scenario.skus)
    price = records.scenario.shop.items[item].price_cents
    sold = over_replications(
        records, lambda r, n: float(sold_units(r.visits_in(n), item_count)[item])
    )
    gone = over_replications(records, lambda r, n: first_gone_s(r.stock_in(n), item))
    paid = over_replications(records, lambda r, n: sell_out_s(r.visits_in(n), item, units, r.lines))
    return {
        "sold": text_of(sold, "count"),
        "gone": gone_text(gone),
        "paid": text_of(paid, "s"),
        "gmv": f"{sold.value * price / 100:,.2f}",
    }


def buyer_rows(sides: list[Side]) -> list[dict[str, Any]]:
    """One row a persona: its share of the visitors and, for each run, of the sold units."""
    names = sides[0].records.scenario.persona_names
    return [
        {"persona": name, "sides": [_buyer(side, code, len(names)) for side in sides]}
        for code, name in enumerate(names)
    ]


def _buyer(side: Side, persona: int, persona_count: int) -> dict[str, Any]:
    visits = side.records.visits
    share = float((visits.persona == persona).sum() / max(len(visits.persona), 1))
    stock = over_replications(
        side.records,
        lambda r, n: float(stock_shares(r.visits_in(n), persona_count, r.lines)[persona]),
    )
    conversion = over_replications(side.records, lambda r, n: _conversion(r, n, persona))
    return {
        "label": side.label,
        "role": side.role,
        "visitors": share,
        "visitors_text": percent(share),
        "stock": 0.0 if np.isnan(stock.value) else stock.value,
        "stock_text": text_of(stock, "fraction"),
        "conversion_text": text_of(conversion, "fraction"),
    }


def _conversion(records: RunRecords, replication: int, persona: int) -> float:
    visits = records.visits_in(replication)
    mine = visits.persona == persona
    return float((visits.outcome[mine] == Outcome.SOLD).mean()) if mine.any() else float("nan")


def outcome_rows(sides: list[Side]) -> list[dict[str, Any]]:
    """One entry a run: its share of each outcome that occurs, and the counts by persona."""
    return [_outcomes(side) for side in sides]


def _outcomes(side: Side) -> dict[str, Any]:
    records = side.records
    personas = records.scenario.persona_names
    counts = outcome_counts_by_persona(records.visits, len(personas))
    total = max(int(counts.sum()), 1)
    used = [code for code in range(len(OUTCOMES)) if counts[:, code].any()]
    per_sale = max(len(records.replications), 1)
    return {
        "label": side.label,
        "role": side.role,
        "shares": [
            {"name": OUTCOMES[c], "share": counts[:, c].sum() / total,
             "text": percent(counts[:, c].sum() / total)}
            for c in used
        ],
        "names": [OUTCOMES[code] for code in used],
        "rows": [
            {"persona": name, "counts": [_mean_count(counts[p, c] / per_sale) for c in used]}
            for p, name in enumerate(personas)
        ],
        "repeated": side.repeated,
    }  # fmt: skip


def latency_table(sides: list[Side]) -> list[dict[str, Any]]:
    """One row a step and run, with its response, service and dispatch quantiles."""
    found: dict[tuple[str, int], dict[str, LatencyRow]] = {}
    for position, side in enumerate(sides):
        records = side.records
        for row in latency_rows([records.requests_in(n) for n in records.replications]):
            found.setdefault((row.step, position), {})[row.latency] = row
    steps = (*STEPS, "all")
    keys = sorted((key for key in found if "response" in found[key]),
                  key=lambda key: (steps.index(key[0]), key[1]))  # fmt: skip
    return [_latencies(step, sides[position], found[step, position]) for step, position in keys]


def _latencies(step: str, side: Side, rows: dict[str, LatencyRow]) -> dict[str, Any]:
    response, service = rows["response"], rows["service"]
    late = rows.get("dispatch_delay") if side.records.world == "live" else None
    return {
        "step": "@all.steps" if step == "all" else step,
        "side": side.label,
        "role": side.role,
        "count": count(round(response.count)),
        "p50": duration(response.p50_s),
        "p95": duration(response.p95_s),
        "interval": interval_text(response.p95_interval, "s"),
        "p99": duration(response.p99_s),
        "max": duration(response.max_s),
        "service_p50": duration(service.p50_s),
        "service_p95": duration(service.p95_s),
        "late_p99": duration(late.p99_s if late else None),
    }


def reply_table(sides: list[Side]) -> list[dict[str, Any]]:
    """One entry a run: requests a sale by step and reply."""
    tables = []
    for side in sides:
        counts = reply_counts(side.records.requests) / max(len(side.records.replications), 1)
        used = [code for code in range(len(REPLIES)) if counts[:, code].any()]
        rows = [
            {
                "step": step,
                "counts": [_mean_count(counts[s, c]) for c in used],
                "total": _mean_count(counts[s].sum()),
            }
            for s, step in enumerate(STEPS)
            if counts[s].any()
        ]
        names = [REPLIES[code] for code in used]
        tables.append({"label": side.label, "role": side.role, "names": names, "rows": rows})
    return tables


def _mean_count(number: float) -> str:
    """A mean of counts; below ten its fraction matters."""
    whole = 10
    return count(round(float(number)) if number >= whole else float(number))


def station_rows(sides: list[Side]) -> list[dict[str, str]]:
    """How busy each simulated station was: means over replications, the longest queue of all."""
    rows = []
    for side in sides:
        grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for entry in side.records.run.get("stations") or ():
            key = (str(entry["station"]), str(entry.get("item") or ""))
            grouped.setdefault(key, []).append(entry)
        rows += [
            {
                "station": station,
                "item": item,
                "utilisation": percent(float(np.mean([e["utilisation"] for e in entries]))),
                "max_queue": count(max(e["max_queue"] for e in entries)),
                "refused": count(sum(e["refused"] for e in entries)),
            }
            for (station, item), entries in grouped.items()
        ]
    return rows


def environment_rows(sides: list[Side]) -> list[dict[str, Any]]:
    """One row a fact that at least one run states."""
    rows = [
        {"name": name, "values": [_plain(name, side.records.run.get(name)) for side in sides]}
        for name in ENVIRONMENT
    ]
    generators = [side.records.run.get("generator") or {} for side in sides]
    names = dict.fromkeys(name for generator in generators for name in generator)
    rows += [
        {"name": f"generator.{name}", "values": [_plain(name, g.get(name)) for g in generators]}
        for name in names
    ]
    return [row for row in rows if any(row["values"])]


def _plain(name: str, value: Any) -> str:
    """A fact of run.json for people: numbers get the unit that their name ends with."""
    if value is None or value == []:
        return ""
    hash_length = 64
    if isinstance(value, str) and len(value) == hash_length:
        return value[:16]
    if isinstance(value, bool) or not isinstance(value, int | float) or name == "seed":
        return str(value)
    if name in _FACTORS:
        return f"{value:g} ×"
    unit = "s" if name.endswith("_s") else "fraction" if "_fraction" in name else "count"
    return quantity(value, unit)


def read_moment(seconds: float) -> str:
    """A moment that a reading found: rounded up to a tenth, as readings are no sharper."""
    if not 0 < seconds < _LONG_S:
        return duration(seconds)
    return f"{np.ceil(round((seconds - _READ_LATE_S) * 10, 6)) / 10:.1f} s"


def gone_text(gone: Estimate) -> str:
    """When nothing was left: a bound for one sale, a mean with its interval for several."""
    if len(gone.values) == 1 and not gone.missing:
        return f"≤ {read_moment(gone.value)}"
    return text_of(gone, "s")


def text_of(found: Estimate, unit: str) -> str:
    """A mean with its interval; replications without the value are counted."""
    text = quantity(found.value, unit)
    if found.missing and len(found.values):
        return f"{text} ({len(found.values)}/{found.missing + len(found.values)})"
    return text + interval_text(found.interval, unit)


def interval_text(interval: Interval | None, unit: str) -> str:
    """` (low … high)`, empty without an interval or when both ends read the same."""
    if interval is None or interval.high - interval.low <= 0:
        return ""
    low, high = max(interval.low, 0.0), interval.high
    if unit == "fraction":
        high = min(high, 1.0)
    ends = quantity(low, unit), quantity(high, unit)
    return "" if ends[0] == ends[1] else f" ({ends[0]} … {ends[1]})"
