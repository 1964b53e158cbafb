"""The capacity page: one HTML file with the style, script and languages of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from doorbuster import __version__
from doorbuster.capacity.charts import charts_of
from doorbuster.capacity.findings import Capacity, ObjectiveBreak
from doorbuster.capacity.sentences import (
    Sentence,
    bought,
    cause,
    ending,
    factor_text,
    first_to_break,
    frontier_line,
    headline,
    offers,
    purchase,
    reached,
    verdict,
)
from doorbuster.capacity.trial import Trial
from doorbuster.report.numbers import count, duration, percent
from doorbuster.report.page import data_of, environment, style_and_scripts
from doorbuster.report.words import in_all_languages
from doorbuster.verdict.verdict import limit_text

TONES = {"within": "pass", "beyond": "fail", "inconclusive": "inconclusive"}


def write_capacity_page(path: Path, found: Capacity, scenario_text: str) -> Path:
    """Write the page; returns its path. Raises: OSError."""
    path.write_text(render(found, scenario_text), "utf-8")
    return path


def render(found: Capacity, scenario_text: str) -> str:
    """The page as HTML."""
    facts = {
        "sales": count(found.sale_count),
        "replications": count(found.settings.replications),
        "precision": percent(found.settings.precision),
    }
    return (
        environment()
        .get_template("capacity.html")
        .render(
            version=__version__,
            found=found,
            scenario_text=scenario_text,
            tone=TONES[found.status],
            verdict=_said(verdict(found)),
            note=_said(Sentence("capacity.note.sales", facts)),
            ending=_said(ending(found)),
            cards=_cards(found),
            objectives=[_objective_row(found, o) for o in found.objectives],
            reliefs=_relief_rows(found),
            stations=_station_rows(found.breaking),
            channels=_channel_rows(found.breaking),
            offers=_offer_rows(found),
            frontier=_frontier_rows(found),
            sweep=_sweep_rows(found),
            data=data_of(charts_of(found), main_side=""),
            **style_and_scripts(),
        )
    )


def _said(sentence: Sentence | None) -> Markup:
    return Markup("") if sentence is None else in_all_languages(sentence)


# --- the cards ---


def _cards(found: Capacity) -> list[dict[str, Any]]:
    breaking = found.first_to_break
    cards = [
        _card("held", TONES[found.status], _answer(found), [headline(found)]),
        _card(
            "first",
            "",
            breaking[0].objective.name if breaking else Sentence("capacity.answer.nothing"),
            [first_to_break(found)],
        ),
    ]
    if found.causes or found.beyond_resources:
        cards.append(_card("cause", "", _named_causes(found), cause(found)))
        last = frontier_line(found)
        cards.append(_card("help", "", _best_offer(found), [*offers(found), last]))
    return cards


def _card(
    name: str, tone: str, answer: Sentence | str, sentences: list[Sentence] | list[Sentence | None]
) -> dict[str, Any]:
    return {
        "question": _said(Sentence(f"capacity.card.{name}")),
        "tone": tone,
        "answer": _said(answer) if isinstance(answer, Sentence) else answer,
        "sentences": [_said(sentence) for sentence in sentences if sentence is not None],
    }


def _answer(found: Capacity) -> Sentence:
    bracket = found.bracket
    if bracket is None:
        return Sentence("capacity.answer.unknown")
    if bracket.broke is None:
        return Sentence("capacity.answer.everywhere")
    if bracket.held is None:
        return Sentence("capacity.answer.nowhere")
    return Sentence("capacity.answer.up_to", {"held": factor_text(bracket.held)})


def _named_causes(found: Capacity) -> Markup:
    if found.beyond_resources:
        return _said(Sentence("capacity.answer.cause.none"))
    names = [
        _said(
            Sentence(
                f"capacity.answer.cause.{relief.suspect.cause}",
                {"resource": relief.suspect.resource},
            )
        )
        for relief in found.causes
    ]
    return Markup("<br>").join(names)


def _best_offer(found: Capacity) -> Sentence:
    helping = [offer for offer in found.offers if offer.gained > 0]
    if not helping:
        return Sentence("capacity.answer.nothing")
    best = helping[0]
    what = purchase(best.lever, best.lever.stride, best.before, best.after)
    return Sentence("capacity.answer.help", {"what": what})


# --- the tables ---


def _objective_row(found: Capacity, o: ObjectiveBreak) -> dict[str, Any]:
    trial = found.breaking or found.sweep[-1]
    check = next(other.check for other in trial.objectives if other.name == o.objective.name)
    breaks: Sentence | str = factor_text(o.bracket.broke)
    if o.direction in ("never", "always", "open"):
        breaks = Sentence(f"capacity.direction.{o.direction}")
    elif o.direction == "down":
        facts = {"factor": factor_text(o.bracket.broke)}
        breaks = Sentence("capacity.direction.down", facts)
    return {
        "name": o.objective.name,
        "limit": limit_text(check),
        "holds": factor_text(o.bracket.held),
        "breaks": _said(breaks) if isinstance(breaks, Sentence) else breaks,
        "sure": " … ".join(factor_text(edge) for edge in o.sure),
        "counts": "yes" if o.defines_capacity else "no",
        "first": o in found.first_to_break[:1],
    }


def _relief_rows(found: Capacity) -> list[dict[str, Any]]:
    if found.bracket is None:
        return []
    return [
        {
            "resource": relief.suspect.resource,
            "kind": relief.suspect.cause,
            "carries": reached(relief.bracket, found) if relief.gain(found.bracket) > 0 else "",
            "cause": relief in found.causes,
        }
        for relief in found.reliefs
    ]


def _station_rows(trial: Trial | None) -> list[dict[str, str]]:
    return [
        {
            "station": s.station,
            "item": s.item or "",
            "servers": count(s.servers),
            "queue_limit": count(s.queue_limit),
            "offered": f"{s.offered_load:.2f}",
            "utilisation": percent(s.utilisation),
            "max_queue": count(round(s.max_queue)),
            "refused": count(round(s.refused)),
        }
        for s in (trial.stations if trial else ())
    ]


def _channel_rows(trial: Trial | None) -> list[dict[str, str]]:
    return [
        {
            "channel": c.channel,
            "payments": count(c.payments),
            "wait": duration(c.response_p95_s),
            "pending": percent(c.pending_fraction),
            "declined": percent(c.declined_fraction),
        }
        for c in (trial.channels if trial else ())
    ]


def _offer_rows(found: Capacity) -> list[dict[str, Any]]:
    return [
        {
            "what": _said(purchase(o.lever, o.lever.stride, o.before, o.after)),
            "lever": o.lever.id,
            "cost": f"{o.cost:,g}",
            "carries": reached(o.bracket, found) if o.gained > 0 else "",
            "gained": f"+{factor_text(o.gained)}" if o.gained > 0 else "",
        }
        for o in found.offers
    ]


def _frontier_rows(found: Capacity) -> list[dict[str, Any]]:
    return [
        {
            "cost": f"{point.cost:,g}",
            "carries": reached(point.bracket, found),
            "bought": [_said(sentence) for sentence in bought(found, point)],
        }
        for point in found.frontier
    ]


def _sweep_rows(found: Capacity) -> list[dict[str, str]]:
    return [
        {
            "factor": factor_text(trial.load_factor),
            "visitors": count(round(trial.visitors)),
            "status": trial.reading.status,
            "p95": duration(trial.response_p95_s),
            "offered": count(round(trial.offered_per_s)),
            "answered": count(round(trial.answers_per_s)),
            "unsold": percent(trial.unsold_fraction),
        }
        for trial in found.sweep
    ]
