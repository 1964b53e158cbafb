"""The study: sweep, breaking points, bottleneck, what one more buys, frontier; in this order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from doorbuster.capacity.bench import Bench, Told
from doorbuster.capacity.breaks import find_breaks, sweep
from doorbuster.capacity.causes import find_causes
from doorbuster.capacity.findings import Capacity, Ended, StudySettings
from doorbuster.capacity.purchases import price_one_more, trace_frontier
from doorbuster.capacity.trial import is_about_requests, may_be_the_shops_doing
from doorbuster.capacity.trials import SalesSpentError, Simulate
from doorbuster.plan import Timetable
from doorbuster.scenario.model import Scenario

SMALLEST_CROWD = 50.0
"""The sweep begins where at least so many visitors are expected: fewer tell nothing."""
LOW_SHARE = 8
"""It begins at this part of the target, however many would come."""


def study(
    scenario: Scenario,
    settings: StudySettings,
    simulate: Simulate,
    timetable: Callable[[float], Timetable],
    *,
    told: Told = lambda _share, _note: None,
    keep: Callable[[Capacity], None] = lambda _found: None,
) -> Capacity:
    """All that can be found within the allowed sales; Ctrl-C keeps what is known.

    timetable: of a load factor. keep: called after each stage with what is known by then.
    Never raises KeyboardInterrupt: `ended` says `interrupted`.
    """
    found = Capacity(scenario, settings)
    bench = Bench(found, simulate, told)
    ended: Ended = "complete"
    try:
        for stage in _stages(bench, timetable):
            stage()
            found.sale_count = bench.trials.sale_count
            keep(found)
    except KeyboardInterrupt:
        ended = "interrupted"
    except SalesSpentError:
        ended = "sales_spent"
    found.ended = ended
    found.sale_count = bench.trials.sale_count
    keep(found)
    return found


def _stages(bench: Bench, timetable: Callable[[float], Timetable]) -> Iterator[Callable[[], None]]:
    """Each stage in turn; why it breaks is asked only where it does."""
    yield partial(sweep, bench, timetable)
    yield partial(find_breaks, bench)
    bracket = bench.found.bracket
    if bracket is not None and bracket.broke is not None:
        yield partial(find_causes, bench)
        yield partial(price_one_more, bench)
        yield partial(trace_frontier, bench)


def can_break(scenario: Scenario) -> bool:
    """Whether an objective of the scenario can define a capacity at all."""
    return any(is_about_requests(o) or may_be_the_shops_doing(o) for o in scenario.objectives)


def lowest_factor(planned: Timetable) -> float:
    """Where the sweep begins: an eighth of the plan, unless hardly anybody would come."""
    target = planned.load_factor
    per_factor = planned.expected_visitors / target
    return min(max(target / LOW_SHARE, SMALLEST_CROWD / per_factor), target)
