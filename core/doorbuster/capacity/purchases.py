"""The last two stages: what one more of each buys, and the frontier of load against cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from doorbuster.capacity.bench import Bench
from doorbuster.capacity.bottleneck import ALIKE
from doorbuster.capacity.findings import OneMore
from doorbuster.capacity.frontier import Offer, cost_of, frontier
from doorbuster.capacity.levers import (
    PAYMENTS,
    Lever,
    Variant,
    is_hot_row,
    setting,
    varied,
    visited_stations,
)
from doorbuster.capacity.search import Bracket

_FAMILIES = (("servers", "speed"), ("queue",), ("latency", "late", "declines"), ("timeout",))


def price_one_more(bench: Bench) -> None:
    """One purchase of each lever whose resource, relieved, moved the break."""
    bench.begin("one_more")
    base = bench.base
    helpful = [lever for lever in bench.levers if _may_help(bench, lever)]
    variants = {lever: ((lever, lever.stride),) for lever in bench.levers}
    brackets: dict[Variant, Bracket] = {}
    try:
        bench.search([variants[lever] for lever in helpful], base, brackets)
    finally:
        offers = [
            _offer(bench, lever, variants[lever], brackets.get(variants[lever], base))
            for lever in bench.levers
            if variants[lever] in brackets or lever not in helpful
        ]
        bench.found.offers = sorted(offers, key=lambda offer: -offer.gain_per_cost)


def trace_frontier(bench: Bench) -> None:
    """The cheapest purchases found for each load, up to the end of the range."""
    bench.begin("frontier")

    def worth_trying(variant: Variant, broke: float) -> list[Lever]:
        return _worth_trying(bench, variant, broke)

    def measure(variants: Sequence[Variant], start: Bracket) -> list[Offer]:
        brackets: dict[Variant, Bracket] = {}
        bench.search(variants, start, brackets)
        return [Offer(brackets[v], bench.excess(v, start)) for v in variants]

    for point in frontier(bench.base, worth_trying, bench.costs, measure, bench.holds):
        bench.found.frontier.append(point)
        bench.expect(_share_of_range(bench, point.bracket))


def _share_of_range(bench: Bench, bracket: Bracket) -> float:
    """How far a break has moved from that of the scenario to the end of the range, in ratios."""
    high, base = bench.found.settings.high, bench.base.broke
    assert base is not None
    if bracket.broke is None or high <= base:
        return 1.0
    return log(bracket.broke / base) / log(high / base)


def _may_help(bench: Bench, lever: Lever) -> bool:
    """Whether relieving the same resource moved the break, or brought the objective closer."""
    base, found = bench.base, bench.found
    assert found.breaking is not None
    before = found.breaking.reading.excess
    return any(
        relief in found.causes or relief.gain(base) > 0 or relief.excess < before
        for relief in found.reliefs
        if any(_alike(lever, other) for other, _ in relief.suspect.variant)
    )


def _alike(lever: Lever, other: Lever) -> bool:
    """Whether two levers act on the same resource in the same way."""
    if lever == Lever(PAYMENTS, "channels"):
        return other.kind == "latency"
    return lever.resource == other.resource and any(
        lever.kind in family and other.kind in family for family in _FAMILIES
    )


def _worth_trying(bench: Bench, variant: Variant, broke: float) -> list[Lever]:
    """What can be bought: faster code is no purchase unless somebody has given it a price.

    A bound that refused nobody, or a channel that never mattered, is left as it is.
    """
    trial = bench.trials.known(variant, broke)
    refusing = None if trial is None else {s.station for s in trial.stations if s.refused > 0}
    rows = {s.name for s in visited_stations(bench.found.scenario) if is_hot_row(s)}

    def worth(lever: Lever) -> bool:
        if lever.kind == "queue":
            return refusing is None or lever.resource in refusing
        if lever.kind == "speed":
            return lever.resource in rows or lever.id in bench.found.settings.costs
        return lever.kind == "servers" or _may_help(bench, lever)

    return [lever for lever in bench.levers if worth(lever)]


def _offer(bench: Bench, lever: Lever, variant: Variant, bracket: Bracket) -> OneMore:
    scenario = bench.found.scenario
    return OneMore(
        lever,
        setting(scenario, lever),
        setting(varied(scenario, variant), lever),
        cost_of(variant, bench.costs),
        bracket,
        _gained(bench, bracket),
        implied=not _may_help(bench, lever),
    )


def _gained(bench: Bench, bracket: Bracket) -> float:
    """Growth of the load that holds; what the precision of the search cannot show is none.

    What breaks from the start holds nothing: then growth counts from the lowest broken load.
    """
    base = bench.base
    assert base.broke is not None
    after = bracket.broke if bracket.broke is not None else bench.found.settings.high
    if after <= base.broke * (1 + bench.found.settings.precision) ** ALIKE:
        return 0.0
    return (bracket.held or base.broke) - (base.held or base.broke)
