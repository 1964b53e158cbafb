"""Puts the page together: facts, curves, words, the template, the vendored chart library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from doorbuster import __version__
from doorbuster.comparison.comparison import Comparison, ComparisonError, compare_records
from doorbuster.comparison.estimates import Estimate
from doorbuster.comparison.rows import Row
from doorbuster.comparison.table import (
    BORROWED_MARK,
    difference_text,
    is_borrowed,
    value_text,
)
from doorbuster.measures.columns import OUTCOMES, REPLIES
from doorbuster.records.run_folder import RunFolder, RunFolderError
from doorbuster.report import facts
from doorbuster.report.catalogue import LANGUAGES, catalogue
from doorbuster.report.charts import Chart, charts_of
from doorbuster.report.evidence import evidence_charts, evidence_of
from doorbuster.report.headlines import headlines, key_numbers
from doorbuster.report.numbers import count, percent
from doorbuster.report.sides import Side, sides_of
from doorbuster.report.verdict_rows import verdict_groups
from doorbuster.report.warehouses import parcel_rows, warehouse_rows
from doorbuster.report.words import in_all_languages, measure_named, named, step_named, t
from doorbuster.verdict.judge import JudgedRun

SCRIPT_KEYS = (
    *("chart.", "axis.", "side.", "step.", "all."),
    *("outcome_name.", "reply_name.", "fault_name."),
)
"""Keys that the page's script needs, for axes, legends and tables."""


def write_page(
    path: Path, primary: RunFolder | JudgedRun, other: RunFolder | JudgedRun | None
) -> Path:
    """Write the report. Raises: RunFolderError when a run is unreadable or the file unwritable."""
    html = render(sides_of(primary, other))
    try:
        path.write_text(html, "utf-8")
    except OSError as error:
        message = f"{path}: the report cannot be written ({error})"
        raise RunFolderError(message) from None
    return path


def render(sides: list[Side]) -> str:
    """The page of one or two runs as HTML."""
    return environment().get_template("page.html").render(_context(sides))


def environment() -> Environment:
    """The templates, with the functions that speak in every language."""
    made = Environment(
        loader=PackageLoader("doorbuster.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(t=t, named=named, step_named=step_named, measure_named=measure_named)
    return made


def _context(sides: list[Side]) -> dict[str, Any]:
    comparison, incomparable = _comparison(sides)
    records = sides[0].records
    return {
        "version": __version__,
        "scenario": records.scenario,
        "scenario_text": records.run["scenario_text"],
        "sides": sides,
        "repeated": any(side.repeated for side in sides),
        "live": any(side.records.world == "live" for side in sides),
        "incomplete": [side for side in sides if not side.records.folder.is_complete],
        "headlines": headlines(sides, comparison),
        "key_numbers": key_numbers(sides[0]),
        "groups": verdict_groups(sides),
        "evidence": evidence_of(sides),
        "evidence_charts": list(books := evidence_charts(sides)),
        "items": facts.item_rows(sides),
        "warehouses": warehouse_rows(sides),
        "parcels": parcel_rows(sides),
        "buyers": facts.buyer_rows(sides),
        "outcomes": facts.outcome_rows(sides),
        "latencies": facts.latency_table(sides),
        "replies": facts.reply_table(sides),
        "stations": facts.station_rows(sides),
        "environment": facts.environment_rows(sides),
        "comparison": None if comparison is None else _compared(comparison),
        "incomparable": incomparable,
        "outcome_names": OUTCOMES,
        "reply_names": REPLIES,
        "data": data_of({**charts_of(sides), **books}, main_side=sides[0].label),
        **style_and_scripts(),
    }


def _comparison(sides: list[Side]) -> tuple[Comparison | None, str]:
    """Simulated against live where there are two, or why not."""
    if len(sides) == 1:
        return None, ""
    live, simulated = sides[0].records, sides[1].records
    a, b = (simulated, live) if live.world != simulated.world else (live, simulated)
    try:
        return compare_records(a, b, allow_different=True), ""
    except ComparisonError as error:
        return None, str(error)


def _compared(comparison: Comparison) -> dict[str, Any]:
    agreement = comparison.agreement
    repeated = len(comparison.a.replications) > 1
    return {
        "same_plan": comparison.same_plan,
        "beyond": f"{comparison.beyond * 100:g}",
        "repeated": repeated,
        "borrowed": any(
            is_borrowed(estimate)
            for row in (*comparison.shares, *comparison.measures)
            for estimate in (row.a, row.b)
        ),
        "a_label": _label(comparison, "a"),
        "b_label": _label(comparison, "b"),
        "shares": [_compared_row(row) for row in comparison.shares],
        "measures": [_compared_row(row) for row in comparison.measures],
        "findings": [in_all_languages(finding.sentence) for finding in comparison.findings],
        "agreement": agreement
        and {
            "share": percent(agreement.share),
            "visitors": count(agreement.visitors),
            "changes": [(a, b, count(number)) for a, b, number in agreement.changes],
        },
    }


def _label(comparison: Comparison, side: str) -> str:
    same = comparison.a.world == comparison.b.world
    return f"side.{side}" if same else f"side.{getattr(comparison, side).world}"


def _compared_row(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "a": value_text(row.a.value, row.unit),
        "a_interval": _marked_interval(row.a, row.unit),
        "twin": value_text(row.twin_a, row.unit),
        "b": value_text(row.b.value, row.unit),
        "b_interval": _marked_interval(row.b, row.unit),
        "difference": difference_text(row),
        "flagged": row.flagged,
    }


def _marked_interval(estimate: Estimate, unit: str) -> str:
    text = facts.interval_text(estimate.interval, unit)
    return text + BORROWED_MARK if text and is_borrowed(estimate) else text


def data_of(charts: Mapping[str, Chart], *, main_side: str) -> Markup:
    """Everything the script draws, as JSON that no HTML parser can mistake for a tag."""
    words = {
        language: {k: v for k, v in catalogue(language).items() if k.startswith(SCRIPT_KEYS)}
        for language in LANGUAGES
    }
    text = json.dumps(
        {"charts": charts, "words": words, "mainSide": main_side},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def style_and_scripts() -> dict[str, Any]:
    """What every page carries inside itself, with the licence of what is not ours."""
    return {
        "style": Markup(_file("vendor", "uPlot.min.css") + _file("template", "page.css")),
        "notice": _file("vendor", "NOTICE"),
        "scripts": [
            Markup(_file("vendor", "uPlot.iife.min.js")),
            Markup(_file("template", "page.js")),
        ],
    }


def _file(folder: str, name: str) -> str:
    return resources.files("doorbuster.report").joinpath(folder, name).read_text("utf-8")


__all__ = ["data_of", "environment", "render", "style_and_scripts", "write_page"]
