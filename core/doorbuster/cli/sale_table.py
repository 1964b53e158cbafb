"""The table at the end of a simulation: what the sales were on average, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def print_sale_table(run: dict[str, Any], console: Console) -> None:
    """Print the measures of run.json; nothing for a single sale, which says nothing of others."""
    from rich.table import Table

    rows = run.get("measures") or ()
    sale_count = len(run.get("replication_seeds") or ())
    if sale_count < 2:  # noqa: PLR2004 - one has no spread
        return
    table = Table(title=f"Mean over {sale_count} sales", title_justify="left", box=None)
    table.add_column("measure")
    for heading in ("mean", "95 % interval of the mean", "±", "sales"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    console.print()


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from doorbuster.report.numbers import NOTHING, quantity

    unit = row["unit"]
    interval = NOTHING
    if row["low"] is not None:
        interval = f"{quantity(row['low'], unit)} … {quantity(row['high'], unit)}"
    return (
        row["name"],
        quantity(row["mean"], unit),
        interval,
        quantity(row["half_width"], unit),
        str(row["sales"]),
    )


def precision_sentences(run: dict[str, Any]) -> list[str]:
    """What to say about a wanted precision; nothing when none was wanted."""
    precision = run.get("precision")
    if precision is None:
        return []
    count = len(run.get("replication_seeds") or ())
    if precision["reached"]:
        return [f"The precision was reached: {count} sales."]
    measures = {row["name"]: row for row in run.get("measures") or ()}
    missed = [_missed(goal, measures[goal["name"]]) for goal in precision["goals"]]
    return [
        f"The precision was NOT reached with {count} of at most "
        f"{precision['replications_max']} sales. Give more --replications, or ask for less.",
        *(f"  {sentence}" for sentence in missed),
    ]


def _missed(goal: dict[str, Any], row: dict[str, Any]) -> str:
    from doorbuster.report.numbers import percent, quantity

    name, unit = row["name"], row["unit"]
    if goal["relative"]:
        wanted = f"± {percent(goal['half_width'])} of the mean"
    else:
        wanted = f"± {quantity(goal['half_width'], unit)}"
    if row["half_width"] is None:
        return f"{name}: no half-width from {row['sales']} sales (wanted {wanted})"
    reached = f"± {quantity(row['half_width'], unit)}"
    if goal["relative"] and row["mean"]:
        reached += f", {percent(row['half_width'] / abs(row['mean']))} of the mean"
    missing = f"; {row['missing']} sales have no such value" if row["missing"] else ""
    return f"{name}: {reached} (wanted {wanted}){missing}"
