"""The third stage: relieve every resource in turn, and together where none helps alone."""

from __future__ import annotations

from collections.abc import Sequence

from doorbuster.capacity.bench import AS_IS, Bench
from doorbuster.capacity.bottleneck import (
    Relief,
    Suspect,
    moves_clearly,
    plainest_last,
    ranked,
    suspects_of,
    symptom_of,
)
from doorbuster.capacity.levers import Variant
from doorbuster.capacity.search import Bracket

_CLEARLY = 3
"""Steps of the precision by which relief of all together must move the break to blame anything."""


def find_causes(bench: Bench) -> None:
    """What binds at the breaking load: one resource, or several that bind at once."""
    bench.begin("bottleneck")
    found, base = bench.found, bench.base
    assert base.broke is not None
    found.breaking = bench.trial(AS_IS, base.broke)
    if found.breaking.broken:
        kinds = {o.name: o.kind for o in found.scenario.objectives}
        found.symptom = symptom_of(found.breaking, found.breaking.broken[0], kinds)
    suspects = suspects_of(found.scenario)
    brackets: dict[Variant, Bracket] = {}
    try:
        bench.search([suspect.variant for suspect in suspects], base, brackets)
    finally:
        reliefs = [
            _relief(bench, suspect, brackets[suspect.variant])
            for suspect in suspects
            if suspect.variant in brackets
        ]
        found.reliefs = ranked(reliefs, base, found.settings.precision)
    best = found.reliefs[0]
    if moves_clearly(best, base, found.settings.precision):
        found.causes = [best]
    else:
        _blame_several(bench, suspects, best)


def _relief(bench: Bench, suspect: Suspect, bracket: Bracket) -> Relief:
    # The first question of every search is the old breaking load: nothing new is simulated.
    return Relief(suspect, bracket, bench.excess(suspect.variant, bench.base))


def _blame_several(bench: Bench, suspects: Sequence[Suspect], best: Relief) -> None:
    """The smallest set found whose common relief moves the break clearly.

    From relief of all, what is not needed is taken away, the least plain explanation first. Where
    even relief of all moves nothing, no resource is to blame.
    """
    found, base = bench.found, bench.base
    assert base.broke is not None
    goal = min(base.broke * (1 + found.settings.precision) ** _CLEARLY, found.settings.high)
    needed = list(suspects)
    if not all(bench.holds([joint_variant(needed)], goal)):
        found.beyond_resources = best.gain(base) <= 0
        found.causes = [] if found.beyond_resources else [best]
        return
    for suspect in plainest_last(suspects):
        fewer = [other for other in needed if other != suspect]
        if fewer and all(bench.holds([joint_variant(fewer)], goal)):
            needed = fewer
    by_variant = {relief.suspect.variant: relief for relief in found.reliefs}
    brackets: dict[Variant, Bracket] = {}
    bench.search([joint_variant(needed)], base, brackets)
    found.causes = [by_variant[suspect.variant] for suspect in needed]
    [found.together] = brackets.values()


def joint_variant(suspects: Sequence[Suspect]) -> Variant:
    """All suspects relieved at once; no two pull the same lever."""
    return tuple(sorted(pull for suspect in suspects for pull in suspect.variant))
