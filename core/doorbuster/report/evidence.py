"""What the detectors found, as the page shows it: offences, and the stock as the orders tell it."""

from __future__ import annotations

from typing import Any

import numpy as np

from doorbuster.detectors.sale import SaleBooks
from doorbuster.measures.columns import Floats
from doorbuster.report.charts import shaded_faults
from doorbuster.report.sides import Side
from doorbuster.report.words import in_all_languages
from doorbuster.verdict.checks import Check
from doorbuster.verdict.failures import books_of, text_of

CURVES_MAX = 4
"""So many items are drawn."""
ROWS_MAX = 10


def evidence_of(sides: list[Side]) -> list[dict[str, Any]]:
    """Each row that broke and names offences, with these as a table."""
    return [_shown(side, check) for side in sides for check in _found(side)]


def _found(side: Side) -> list[Check]:
    return [check for check in side.verdict.checks if check.evidence and check.status == "fail"]


def _shown(side: Side, check: Check) -> dict[str, Any]:
    offences = check.evidence[:ROWS_MAX]
    columns = list(dict.fromkeys(name for offence in offences for name in offence))
    return {
        "side": side.label,
        "role": side.role,
        "name": in_all_languages(check.name),
        "total": int(check.value or 0),
        "columns": columns,
        "rows": [[_cell(offence.get(name)) for name in columns] for offence in offences],
    }


def _cell(value: Any) -> str:
    return "" if value is None else text_of(value)


def evidence_charts(sides: list[Side]) -> dict[str, dict[str, Any]]:
    """For each item with an offence the units that no order holds, and those that were shown."""
    charts: dict[str, dict[str, Any]] = {}
    for side in sides:
        for replication, sku in _places(side)[: CURVES_MAX - len(charts)]:
            sale = books_of(side.records, replication)
            charts[f"books.{side.role}.{replication}.{sku}"] = _chart(side, sale, sku)
    return charts


def _places(side: Side) -> list[tuple[int, str]]:
    """Sales and items of the offences, each once, in the order in which they are told."""
    places = {
        (int(offence.get("replication", 0)), str(offence["sku"])): None
        for check in _found(side)
        for offence in check.evidence
        if "sku" in offence
    }
    return list(places)


def _chart(side: Side, sale: SaleBooks, sku: str) -> dict[str, Any]:
    code = sale.scenario.skus.index(sku)
    free = sale.free_units[code]
    mine = sale.stock.sku == code
    read_s, shown = sale.stock.at_s[mine], sale.stock.available[mine]
    start_s = side.records.start_s
    x = np.unique(np.concatenate([[start_s, sale.end_s], free.at_s, read_s]))
    levels = np.concatenate([[free.initial], free.units]).astype(float)
    series = [("chart.books.free", "sold", _at(x, free.at_s, levels), False)]
    if len(read_s):
        readings = np.concatenate([[np.nan], shown.astype(float)])
        series.append(("chart.books.shown", side.role, _at(x, read_s, readings), True))
    return {
        "x": [float(f"{moment:.6g}") for moment in x],
        "unit": "units",
        "log": False,
        "stepped": True,
        "stacked": False,
        "phases": [[phase.name, phase.start_s, phase.end_s] for phase in side.records.phases],
        "faults": shaded_faults([side]),
        "series": [
            {
                "label": label,
                "colour": colour,
                "dash": dash,
                "side": side.label,
                "y": [None if np.isnan(value) else float(value) for value in y],
            }
            for label, colour, y, dash in series
        ],
    }


def _at(x: Floats, at_s: Floats, levels: Floats) -> Floats:
    """The level after the last step at or before each moment; levels[0] holds before the first."""
    found: Floats = levels[np.searchsorted(at_s, x, side="right")]
    return found
