"""What the page says first: would the sale have held, when was it sold out, who got the stock?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from doorbuster.comparison.comparison import Comparison
from doorbuster.comparison.estimates import estimate, over_replications
from doorbuster.comparison.rows import all_gone_s
from doorbuster.measures.columns import STEPS, Requests, take
from doorbuster.measures.latency import finished, response_s
from doorbuster.measures.outcomes import failed_share
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.sales import (
    gmv_cents,
    sold_stock_units,
    stock_shares,
    whole_sell_out_s,
)
from doorbuster.measures.series import arrivals_per_s, bins_over
from doorbuster.report.facts import gone_text, read_moment, text_of
from doorbuster.report.numbers import count, duration, money, percent
from doorbuster.report.sides import Side
from doorbuster.report.words import in_all_languages, t

CHECKS_NAMED_MAX = 3


@dataclass(frozen=True)
class Headline:
    """A question, its answer in a few words, and sentences below it."""

    question: Markup
    answer: Markup
    sentences: list[Markup]
    tone: str = "plain"


def headlines(sides: list[Side], comparison: Comparison | None) -> list[Headline]:
    """The cards at the top, about the first side; the second is mentioned where it differs."""
    cards = [_held(sides), _sold_out(sides), _buyers(sides)]
    if comparison is not None:
        cards.append(_agreement(comparison))
    return cards


def _held(sides: list[Side]) -> Headline:
    side = sides[0]
    status = side.verdict.status
    # Nothing but the measurement counts when that is void.
    wanted = ("invalid",) if status == "invalid" else ("fail", "invalid", "inconclusive")
    open_checks = [check for check in side.verdict.checks if check.status in wanted]
    # What decided the verdict comes first.
    severity = {"fail": 0, "invalid": 0, "inconclusive": 1}
    open_checks.sort(key=lambda check: severity[check.status])
    sentences = [in_all_languages(side.verdict.sentence)]
    sentences += [
        Markup("<b>{}</b>: {}").format(
            in_all_languages(check.name), in_all_languages(check.sentence)
        )
        for check in open_checks[:CHECKS_NAMED_MAX]
    ]
    if len(sides) > 1:
        other = sides[1]
        sentences.append(
            t(
                "headline.held.other",
                side=f"@{other.label}",
                status=f"@status.{other.verdict.status}",
            )
        )
    return Headline(t("headline.held"), t(f"headline.held.{status}"), sentences, status)


def _sold_out(sides: list[Side]) -> Headline:
    records = sides[0].records
    gone = over_replications(records, all_gone_s)
    paid = over_replications(records, _paid_s)
    units = sum(records.stock_units)
    sold = over_replications(records, _sold)
    answer = t("headline.sold_out.never")
    if len(gone.values) == 1:
        answer = t("headline.sold_out.gone", time=read_moment(gone.value))
    elif len(gone.values):
        answer = t("headline.sold_out.gone_mean", time=duration(gone.value))
    sentences = [
        t("headline.sold_out.units", sold=text_of(sold, "count"), stock=count(units),
          share=percent(sold.value / units if units else None))
    ]  # fmt: skip
    if len(gone.values) and (gap_s := _reading_gap_s(records)) > 0:
        sentences.append(t("headline.sold_out.read", gap=duration(gap_s)))
    if len(paid.values):
        sentences.append(t("headline.sold_out.paid", time=text_of(paid, "s")))
    elif len(gone.values):
        sentences.append(t("headline.sold_out.back"))
    for side in sides[1:]:
        other = over_replications(side.records, all_gone_s)
        if len(other.values):
            sentences.append(
                t("headline.sold_out.other", side=f"@{side.label}", time=gone_text(other))
            )
    return Headline(t("headline.sold_out"), answer, sentences)


def _reading_gap_s(records: RunRecords) -> float:
    """How far apart the readings of the stock typically are, seconds; 0 where there are not two."""
    moments = np.unique(records.stock_in(records.replications[0]).at_s)
    return round(float(np.median(np.diff(moments))), 2) if len(moments) > 1 else 0.0


def _paid_s(records: RunRecords, replication: int) -> float:
    return whole_sell_out_s(records.visits_in(replication), records.stock_units, records.lines)


def _sold(records: RunRecords, replication: int) -> float:
    return float(sold_stock_units(records.visits_in(replication), records.lines).sum())


def _buyers(sides: list[Side]) -> Headline:
    records = sides[0].records
    names = records.scenario.persona_names
    each = [
        stock_shares(records.visits_in(n), len(names), records.lines) for n in records.replications
    ]
    shares = [estimate(np.array([share[code] for share in each])) for code in range(len(names))]
    ranked = sorted(
        (code for code in range(len(names)) if len(shares[code].values)),
        key=lambda code: -shares[code].value,
    )
    if not ranked:
        return Headline(t("headline.buyers"), t("headline.buyers.nobody"), [])
    visitors = np.bincount(records.visits.persona, minlength=len(names))
    sentences = [
        t(
            "headline.buyers.row",
            persona=names[code],
            stock=percent(shares[code].value),
            visitors=percent(float(visitors[code] / max(visitors.sum(), 1))),
        )
        for code in ranked
    ]
    first = ranked[0]
    answer = t("headline.buyers.first", persona=names[first], share=percent(shares[first].value))
    return Headline(t("headline.buyers"), answer, sentences)


def _agreement(comparison: Comparison) -> Headline:
    sentences = [in_all_languages(finding.sentence) for finding in comparison.findings[:2]]
    if comparison.agreement is not None:
        facts = {
            "share": percent(comparison.agreement.share),
            "visitors": count(comparison.agreement.visitors),
        }
        sentences.append(t("compare.visitors", **facts))
    apart = len(comparison.flagged)
    measures_apart = len(comparison.measures_apart)
    answer = t("headline.agree.yes")
    if apart:
        answer = t("headline.agree.no", count=apart)
    elif measures_apart:
        answer = t("headline.agree.measures", count=measures_apart)
    tone = "inconclusive" if apart or measures_apart else "pass"
    return Headline(t("headline.agree"), answer, sentences, tone)


def key_numbers(side: Side) -> list[dict[str, Any]]:
    """The strip of numbers below the cards."""
    records = side.records
    bins = bins_over(records.start_s, records.end_s)
    currency = records.scenario.shop.currency
    visitors = over_replications(records, lambda r, n: float(len(r.visits_in(n).visitor)))
    peak = over_replications(
        records, lambda r, n: float(arrivals_per_s(r.visits_in(n), bins).max())
    )
    gmv = over_replications(records, lambda r, n: float(gmv_cents(r.visits_in(n))))
    pairs = [
        ("visitors", count(round(visitors.value)) if len(visitors.values) else "–"),
        ("peak", f"{peak.value:,.0f}/s" if len(peak.values) else "–"),
        ("requests", count(len(records.requests.visitor) / max(len(records.replications), 1))),
        ("p95_reserve", duration(_p95_s(records.requests, "reserve"))),
        ("p95_pay", duration(_p95_s(records.requests, "pay"))),
        ("failed", percent(failed_share(records.requests))),
        ("gmv", money(gmv.value, currency)),
    ]
    return [{"name": t(f"key.{name}"), "value": value} for name, value in pairs]


def _p95_s(requests: Requests, step: str) -> float:
    requests = take(requests, requests.step == STEPS.index(step))
    return quantile(response_s(requests)[finished(requests)], 0.95)
