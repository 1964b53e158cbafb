"""A comparison for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from doorbuster.comparison.comparison import Comparison
from doorbuster.comparison.diagnosis import label_of
from doorbuster.comparison.estimates import Estimate
from doorbuster.comparison.rows import Row
from doorbuster.report.catalogue import say
from doorbuster.report.numbers import NOTHING, percent, points, quantity

BORROWED_MARK = " *"
_AS_FACTOR = 2.0
"""From twice as much on, a difference is shown as a factor."""


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Outcome shares, measures, visitors, and the diagnosis last."""
    console.print(_rows(comparison, say("compare.title.shares"), comparison.shares))
    console.print(
        _rows(
            comparison,
            say("compare.title.measures"),
            [row for row in comparison.measures if not row.id.startswith("service_")],
        )
    )
    if any(is_borrowed(e) for r in (*comparison.shares, *comparison.measures) for e in (r.a, r.b)):
        console.print(say("compare.borrowed"))
    agreement = comparison.agreement
    if agreement is not None:
        console.print(
            say(
                "compare.visitors",
                {"share": percent(agreement.share), "visitors": f"{agreement.visitors:,}"},
            )
        )
        for before, after, visitors in agreement.changes[:5]:
            console.print(f"  {before} → {after}: {visitors:,}")
    console.print(Group(*(Text(finding.sentence()) for finding in comparison.findings)))


def _rows(comparison: Comparison, title: str, rows: Sequence[Row]) -> Table:
    names = [label_of(comparison.a, "a", comparison.b), label_of(comparison.b, "b", comparison.a)]
    a, b = (say(name[1:]) for name in names)
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("", no_wrap=True)
    for column in (a, say("compare.column.twin"), b, say("compare.column.difference"), ""):
        table.add_column(column, justify="right")
    for row in rows:
        flag = Text(say("compare.flag"), style="bold red") if row.flagged else Text("")
        twin = value_text(row.twin_a, row.unit) if len(row.a.values) > 1 else ""
        table.add_row(
            row.id,
            estimate_text(row.a, row.unit),
            twin,
            estimate_text(row.b, row.unit),
            difference_text(row),
            flag,
        )
    return table


def value_text(value: float, unit: str) -> str:
    """A value in its unit; rates get their dimension."""
    if unit == "per_s":
        return NOTHING if math.isnan(value) else f"{value:.1f}/s"
    return quantity(value, unit)


def estimate_text(estimate: Estimate, unit: str) -> str:
    """A mean with half the width of its interval, where there is one."""
    text = value_text(estimate.value, unit)
    interval = estimate.interval
    if interval is None or interval.high - interval.low <= 0:
        return text
    mark = BORROWED_MARK if is_borrowed(estimate) else ""
    return f"{text} ± {value_text((interval.high - interval.low) / 2, unit)}{mark}"


def is_borrowed(estimate: Estimate) -> bool:
    """Whether the interval of a single sale comes from the spread of the other side."""
    interval = estimate.interval
    return (
        interval is not None
        and interval.method == "borrowed_spread"
        and interval.high > interval.low
    )


def difference_text(row: Row) -> str:
    """Shares in percentage points, everything else in per cent of A or as a factor."""
    if row.unit == "fraction":
        return f"{points(row.difference)} pt"
    if math.isnan(row.ratio):
        return NOTHING
    if row.ratio >= _AS_FACTOR:
        return f"× {row.ratio:,.1f}"
    # Rounded first and + 0.0, so that a hair below nothing is not `-0 %`.
    return f"{round((row.ratio - 1) * 100) + 0.0:+.0f} %"
