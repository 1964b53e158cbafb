"""Why two runs differ, in sentences: where the difference sits, and what most likely causes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from doorbuster.comparison.rows import Row
from doorbuster.comparison.saturation import Saturation
from doorbuster.measures.columns import OUTCOMES, Floats
from doorbuster.measures.outcomes import crossed
from doorbuster.measures.run_records import RunRecords
from doorbuster.report.catalogue import say
from doorbuster.report.numbers import NOTHING, count, duration, percent, points, quantity

OUTCOMES_EXPLAINED_MAX = 4


@dataclass(frozen=True)
class Finding:
    """One sentence of the diagnosis, as a key of the catalogues with its facts."""

    template: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def sentence(self, language: str = "en") -> str:
        """The sentence in one language."""
        return say(self.template, self.facts, language=language)


def diagnose(
    a: RunRecords,
    b: RunRecords,
    shares: tuple[Row, ...],
    measures: tuple[Row, ...],
    saturation: tuple[Saturation, Saturation],
    *,
    beyond: float,
) -> list[Finding]:
    """Every sentence, the differences first, the likely cause last."""
    labels = {"a": label_of(a, "a", b), "b": label_of(b, "b", a)}
    flagged = sorted((row for row in shares if row.flagged), key=lambda r: -abs(r.difference))
    facts = {**labels, "beyond": f"{beyond * 100:g}"}
    if not flagged:
        worst = max((abs(row.difference) for row in shares), default=float("nan"))
        found = [Finding("compare.agree", {**facts, "worst": points(worst).lstrip("+")})]
    else:
        found = [_where(a, b, row, labels) for row in flagged[:OUTCOMES_EXPLAINED_MAX]]
    found += _sale_measures_apart(measures, labels)
    found += _slower(measures, labels)
    found += _piled_up(saturation, labels)
    found.append(Finding(_cause(flagged, measures, saturation), labels))
    return found


def label_of(records: RunRecords, side: str, other: RunRecords) -> str:
    """How a side is called: by its world, or by its letter when both are of one world."""
    same = records.world == other.world
    return f"@side.{side}" if same else f"@side.{records.world}"


def _where(a: RunRecords, b: RunRecords, row: Row, labels: dict[str, str]) -> Finding:
    """The persona and phase in which most of a difference sits."""
    cells = _cells(b, row.id) - _cells(a, row.id)
    total = float(cells.sum())
    contribution = cells / total if total else cells
    persona, phase = np.unravel_index(int(np.argmax(contribution)), cells.shape)
    return Finding(
        "compare.differs",
        {
            **labels,
            "outcome": f"@outcome_name.{row.id}",
            "value_a": percent(row.a.value),
            "value_b": percent(row.b.value),
            "points": points(row.difference),
            "persona": a.scenario.persona_names[persona],
            "phase": a.phases[phase].name,
            "part": percent(float(contribution[persona, phase])),
        },
    )


def _cells(records: RunRecords, outcome: str) -> Floats:
    """Share of all visitors with an outcome, as a table of persona x phase."""
    chosen = records.visits.outcome == OUTCOMES.index(outcome)
    personas, phases = len(records.scenario.persona_names), len(records.phases)
    table = crossed(records.visits.persona[chosen], records.visits.phase[chosen], personas, phases)
    return table / max(len(records.visits.visitor), 1)


def _sale_measures_apart(measures: tuple[Row, ...], labels: dict[str, str]) -> list[Finding]:
    return [
        Finding(
            "compare.measure",
            {
                **labels,
                "measure": f"@measure.{row.id}",
                "value_a": _in_words(row.a.value, row),
                "value_b": _in_words(row.b.value, row),
            },
        )
        for row in measures
        if row.flagged and not _is_latency(row)
    ]


def _in_words(value: float, row: Row) -> str:
    if not np.isfinite(value):
        return NOTHING
    return f"{value:.1f}/s" if row.unit == "per_s" else quantity(value, row.unit)


def _is_latency(row: Row) -> bool:
    return "." in row.id


def _slower(measures: tuple[Row, ...], labels: dict[str, str]) -> list[Finding]:
    """Steps with other service times; response times only of the steps that are not among them."""
    service = [row for row in measures if row.flagged and row.id.startswith("service_p50.")]
    steps = {row.id.partition(".")[2] for row in service}
    response = [
        row
        for row in measures
        if row.flagged and row.id.startswith("response_") and row.id.partition(".")[2] not in steps
    ]
    return [*_slower_service(service, labels), *_other_response(response, labels)]


def _other_response(rows: list[Row], labels: dict[str, str]) -> list[Finding]:
    return [
        Finding(
            "compare.response",
            {
                **labels,
                "quantile": row.id.partition(".")[0].removeprefix("response_"),
                "step": f"@step.{row.id.partition('.')[2]}",
                "value_a": duration(row.a.value),
                "value_b": duration(row.b.value),
                "ratio": f"{max(row.ratio, 1 / row.ratio):.1f}",
            },
        )
        for row in rows
    ]


def _slower_service(rows: list[Row], labels: dict[str, str]) -> list[Finding]:
    return [
        Finding(
            "compare.slower" if row.ratio > 1 else "compare.faster",
            {
                **labels,
                "step": f"@step.{row.id.partition('.')[2]}",
                "value_a": duration(row.a.value),
                "value_b": duration(row.b.value),
                "ratio": f"{max(row.ratio, 1 / row.ratio):.1f}",
            },
        )
        for row in rows
    ]


def _piled_up(saturation: tuple[Saturation, Saturation], labels: dict[str, str]) -> list[Finding]:
    return [
        Finding(
            "compare.piled_up",
            {
                "side": labels[side],
                "from": f"{found.start_s:.1f}",
                "to": f"{found.end_s:.1f}",
                "piled_up": count(found.piled_up),
                "share": percent(found.share),
                "slow_down": f"{found.slow_down:.0f}",
            },
        )
        for side, found in zip(("a", "b"), saturation, strict=True)
        if found.saturated
    ]


def _cause(
    flagged: list[Row], measures: tuple[Row, ...], saturation: tuple[Saturation, Saturation]
) -> str:
    """The likely cause: capacity if requests piled up on one side only, then times, then rules."""
    in_a, in_b = (side.saturated for side in saturation)
    if in_a != in_b:
        return "compare.cause.b_saturated" if in_b else "compare.cause.a_saturated"
    slower = any(row.flagged for row in measures if _is_latency(row))
    differs = bool(flagged) or any(row.flagged for row in measures)
    if in_a:
        return "compare.cause.both_saturated" if differs else "compare.cause.none"
    if slower:
        return "compare.cause.times"
    return "compare.cause.behaviour" if differs else "compare.cause.none"
