"""The frontier: how much load each added cost carries, by greedy buying.

Each step buys the lever with the highest gain of load factor per cost. Where no single one gains
anything (two resources break at once), it buys the one that brings the broken objective closest to
its limit. After each step it gives back what has become useless. Greedy is not optimal: it can
miss a pair that only helps together and costs less than what it buys. The test solves small
problems by brute force beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from doorbuster.capacity.levers import ONCE, Lever, Variant, pulled
from doorbuster.capacity.search import Bracket

MAX_STEPS = 8


@dataclass(frozen=True)
class Offer:
    """What a variant would do: its bracket, and how far it is beyond the limit at the old one."""

    bracket: Bracket
    excess: float


@dataclass(frozen=True)
class FrontierPoint:
    """A set of purchases, its cost, and the load it carries."""

    variant: Variant
    cost: float
    bracket: Bracket
    bought: Lever | None = None


Measure = Callable[[Sequence[Variant], Bracket], Sequence[Offer]]
"""Where each variant breaks, searched upward from a bracket."""
Holds = Callable[[Sequence[Variant], float], Sequence[bool]]
"""Whether each variant keeps the limits at a load factor."""


def cost_of(variant: Variant, costs: Mapping[Lever, float]) -> float:
    """Cost of all units of a variant."""
    return sum(costs[lever] * units for lever, units in variant)


def frontier(
    base: Bracket,
    levers: Callable[[Variant, float], Sequence[Lever]],
    costs: Mapping[Lever, float],
    measure: Measure,
    holds: Holds,
    *,
    max_steps: int = MAX_STEPS,
) -> Iterator[FrontierPoint]:
    """Points of rising cost and load, the scenario as it is first; ends where nothing more helps.

    base: the bracket of the scenario as it is. levers: those worth trying from a variant
    on, which breaks at the load factor given.
    """
    point = FrontierPoint((), 0.0, base)
    yield point
    for _ in range(max_steps):
        if point.bracket.broke is None:
            return
        variant, bracket, lever = _best(
            point, levers(point.variant, point.bracket.broke), costs, measure
        )
        if lever is None:
            return
        # A purchase that only shares the credit with an earlier one may have replaced it.
        variant = _without_useless(variant, bracket, lever, costs, holds)
        improved = bracket != point.bracket
        point = FrontierPoint(variant, cost_of(variant, costs), bracket, lever)
        if improved:
            yield point


def _best(
    point: FrontierPoint,
    levers: Sequence[Lever],
    costs: Mapping[Lever, float],
    measure: Measure,
) -> tuple[Variant, Bracket, Lever | None]:
    """The purchase with the highest gain per cost; no lever when none helps."""
    owned = dict(point.variant)
    choices = [lever for lever in levers if not (lever.kind in ONCE and lever in owned)]
    variants = [pulled(point.variant, lever, lever.stride) for lever in choices]
    broke = point.bracket.broke
    assert broke is not None
    if not variants:
        return point.variant, point.bracket, None
    # What a variant that does nothing would show is the first question.
    stay, *offers = measure([point.variant, *variants], point.bracket)
    ranked = []
    for lever, variant, offer in zip(choices, variants, offers, strict=True):
        price = costs[lever] * lever.stride
        after = offer.bracket.broke or offer.bracket.held or broke
        gain, relief = after - broke, stay.excess - offer.excess
        ranked.append((gain / price, relief / price, offer.bracket, variant, lever))
    gain, relief, bracket, variant, lever = max(ranked, key=lambda entry: entry[:2])
    if gain <= 0 and relief <= 0:
        return point.variant, point.bracket, None
    return variant, bracket, lever


def _without_useless(
    variant: Variant,
    bracket: Bracket,
    newest: Lever,
    costs: Mapping[Lever, float],
    holds: Holds,
) -> Variant:
    """Give back, the dearest first, what the load that is now kept does not need."""
    if bracket.held is None:
        return variant
    earlier = [lever for lever, _ in variant if lever != newest]
    for lever in sorted(earlier, key=lambda lever: -costs[lever] * lever.stride):
        less = pulled(variant, lever, -lever.stride)
        if all(holds([less], bracket.held)):
            variant = less
    return variant
