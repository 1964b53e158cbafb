"""The rows of the verdict as the page shows them, with a small drawing of value and limit."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from doorbuster.report.numbers import quantity
from doorbuster.report.sides import Side
from doorbuster.report.words import in_all_languages, t
from doorbuster.verdict.checks import Check
from doorbuster.verdict.verdict import limit_text

KINDS = ("objective", "invariant", "failure", "validity")
_WIDTH, _HEIGHT = 150.0, 18.0


def verdict_groups(sides: list[Side]) -> list[dict[str, Any]]:
    """Objectives, invariants and validity, each with its rows; one row holds all runs."""
    groups = []
    for kind in KINDS:
        ids = dict.fromkeys(c.id for s in sides for c in s.verdict.checks if c.kind == kind)
        rows = [_row(check_id, sides) for check_id in ids]
        shown = [
            row
            for row in rows
            if any(c["status"] != "not_applicable" or c["not_judged"] for c in row["cells"])
        ]
        if shown:
            bad = any(
                c["status"] not in ("pass", "not_applicable") for r in shown for c in r["cells"]
            )
            groups.append({"kind": kind, "title": t(f"kind.{kind}"), "rows": shown,
                           "open": bad or kind == "objective"})  # fmt: skip
    return groups


def _row(check_id: str, sides: list[Side]) -> dict[str, Any]:
    found = [(s, {c.id: c for c in s.verdict.checks}.get(check_id)) for s in sides]
    cells = [_cell(side, check) for side, check in found if check is not None]
    check = next(check for _, check in found if check is not None)
    return {
        "name": in_all_languages(check.name),
        "limit": limit_text(check) if _tells(check) else "",
        "cells": cells,
    }


def _tells(check: Check) -> bool:
    """Whether the limit says more than `none`, as it does for counts of defects."""
    return check.kind == "objective" or check.unit in ("s", "fraction")


def _cell(side: Side, check: Check) -> dict[str, Any]:
    return {
        "side": side.label,
        "role": side.role,
        "status": check.status,
        "not_judged": check.is_not_judged,
        "value": _value(check) if check.kind == "objective" else "",
        "drawing": _drawing(check) if check.kind == "objective" else Markup(""),
        "sentence": in_all_languages(check.sentence),
    }


def _value(check: Check) -> str:
    return str(check.facts.get("quantile") or quantity(check.value, check.unit))


def _drawing(check: Check) -> Markup:
    """Value as a dot, interval as a bar, limit as a line, from 0 to beyond the largest."""
    if check.value is None or check.limit is None or not math.isfinite(check.value):
        return Markup("")
    low, high = check.value, check.value
    if check.interval is not None:
        low, high = max(check.interval.low, 0.0), check.interval.high
    if check.unit == "fraction":
        high = min(high, 1.0)
    top = max(check.limit, high, 1e-12) * 1.15
    if check.unit == "fraction":
        top = min(top, 1.04)

    def x(value: float) -> float:
        return round(4 + (_WIDTH - 8) * value / top, 1)

    return Markup(
        '<svg class="range {status}" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">'
        '<line class="base" x1="4" x2="{end:g}" y1="9" y2="9"/>'
        '<line class="interval" x1="{low:g}" x2="{high:g}" y1="9" y2="9"/>'
        '<line class="limit" x1="{limit:g}" x2="{limit:g}" y1="2" y2="16"/>'
        '<circle cx="{value:g}" cy="9" r="3.5"/></svg>'
    ).format(
        status=check.status,
        width=_WIDTH,
        height=_HEIGHT,
        end=_WIDTH - 4,
        low=x(low),
        high=x(high),
        limit=x(check.limit),
        value=x(check.value),
    )
