"""The search over the load, on curves whose break is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sin

import pytest

from doorbuster.capacity.search import (
    Bracket,
    Reading,
    Search,
    SearchLimitError,
    Tristate,
    bisect,
    certain,
    direction_of,
    in_step,
    lowest_break,
    objective_bracket,
    search_up,
)

Curve = Callable[[float], float]
"""Excess over the load."""


def reading(excess: float, doubt: float = 0.0) -> Reading:
    status: Tristate = "fail" if excess > 0 else "pass"
    return Reading("inconclusive" if abs(excess) < doubt else status, excess)


def run(search: Search, curve: Curve) -> tuple[Bracket, list[float]]:
    """Where a search ends, and what it asked about."""
    found: dict[str, Bracket] = {}
    asked: list[float] = []

    def ask(questions: Sequence[tuple[str, float]]) -> list[Reading]:
        asked.extend(factor for _, factor in questions)
        return [reading(curve(factor)) for _, factor in questions]

    in_step({"it": search}, ask, found)
    return found["it"], asked


@pytest.mark.parametrize("truth", [1.01, 2.0, 7.3, 63.0])
@pytest.mark.parametrize("precision", [0.2, 0.01])
def test_bisection_encloses_the_truth(truth: float, precision: float) -> None:
    bracket, asked = run(bisect(1.0, 64.0, precision=precision), lambda x: x - truth)
    assert bracket.held is not None
    assert bracket.broke is not None
    assert bracket.held <= truth < bracket.broke <= bracket.held * (1 + precision)
    assert len(asked) <= 10


def test_bisection_runs_downwards_as_well() -> None:
    bracket, _ = run(bisect(64.0, 1.0, precision=0.01), lambda x: 5.0 - x)
    assert bracket.held is not None
    assert bracket.broke is not None
    assert bracket.broke <= 5.0 <= bracket.held <= bracket.broke * 1.011


@pytest.mark.parametrize("truth", [4.2, 9.0, 30.0])
def test_a_relief_that_helps_is_followed_upwards(truth: float) -> None:
    bracket, asked = run(search_up(Bracket(3.9, 4.0), 64.0, precision=0.01), lambda x: x - truth)
    assert bracket.held is not None
    assert bracket.broke is not None
    assert bracket.held <= truth < bracket.broke <= bracket.held * 1.011
    assert asked[0] == 4.0


def test_a_relief_that_does_not_help_costs_one_question() -> None:
    start = Bracket(3.9, 4.0)
    bracket, asked = run(search_up(start, 64.0, precision=0.01), lambda x: x - 3.95)
    assert bracket == start
    assert asked == [4.0]


def test_a_relief_that_helps_without_end_stops_at_the_limit() -> None:
    bracket, asked = run(search_up(Bracket(3.9, 4.0), 64.0, precision=0.01), lambda _: -1.0)
    assert bracket == Bracket(64.0, None)
    assert max(asked) == 64.0


def test_a_search_without_end_is_refused() -> None:
    def endless() -> Search:
        while True:
            yield 1.0

    with pytest.raises(SearchLimitError, match="1 searches found no end within 60 readings"):
        run(endless(), lambda x: x)


def swept(curve: Curve, doubt: float = 0.0) -> list[tuple[float, Reading]]:
    return [(float(x), reading(curve(x), doubt)) for x in range(1, 17)]


@pytest.mark.parametrize(
    ("curve", "doubt", "direction", "bracket"),
    [
        (lambda x: x - 9.5, 0.0, "up", Bracket(9, 10)),
        (lambda _: -0.5, 0.0, "never", Bracket(16, None)),
        (lambda _: 0.5, 0.0, "always", Bracket(None, 1)),
        (lambda x: 4.5 - x, 0.0, "down", Bracket(5, 4)),
        # A wave of noise below the limit and beyond it, of which nothing is sure: no break.
        (lambda x: -1.0 if x < 10 else 0.3 * sin(x), 0.4, "never", Bracket(16, None)),
        (lambda x: 0.3 * sin(x), 0.4, "open", Bracket(None, None)),
        # The same noise under a curve that does break later: the break is the later one.
        (lambda x: (-1.0 if x < 12 else 1.0) + 0.3 * sin(x), 0.4, "up", Bracket(11, 12)),
    ],
)
def test_one_objective_over_the_swept_loads(
    curve: Curve, doubt: float, direction: str, bracket: Bracket
) -> None:
    readings = swept(curve, doubt)
    assert direction_of(r for _, r in readings) == direction
    assert objective_bracket(readings) == bracket


def test_what_is_marked_never_shows_no_break() -> None:
    """The last load is beyond the limit by noise, and not sure: bracketing it was wrong."""
    readings = [(1.0, Reading("pass", -1.0)), (2.0, Reading("inconclusive", 0.1))]
    assert lowest_break(readings) == Bracket(1.0, 2.0)
    assert objective_bracket(readings) == Bracket(2.0, None)


def test_what_is_sure_lies_around_the_bracket() -> None:
    readings = swept(lambda x: (x - 9.5) / 10, doubt=0.2)
    bracket = lowest_break(readings)
    assert bracket == Bracket(9, 10)
    assert certain(readings, bracket) == (7, 12)
