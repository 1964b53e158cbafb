"""The search for a breaking point: bracketing and bisection over the load factor.

A search is a generator: it yields the load factor that it wants to know about and is sent a
reading. So it knows nothing of simulations, and many searches advance in step, each round of
their questions as one batch for all processors.

A value that lies on the wrong side of its limit steers the search; how sure that is decides only
what is told. Noise near the limit may then move the answer by a step, but it cannot stall it.
"""

from __future__ import annotations

from collections.abc import (
    Callable,
    Generator,
    Hashable,
    Iterable,
    Mapping,
    MutableMapping,
    Sequence,
)
from dataclasses import dataclass
from itertools import groupby
from math import sqrt
from typing import Literal, NamedTuple, TypeVar

Tristate = Literal["pass", "fail", "inconclusive"]
Direction = Literal["never", "always", "up", "down", "mixed", "open"]
EXPANSION = 1.3
"""Factor between the loads that are tried above a known one until something breaks."""
MAX_READINGS = 60
"""Readings of one search at most; bisection to a thousandth needs a dozen."""


class Reading(NamedTuple):
    """What one load factor shows. excess: above 0 where the value is beyond its limit."""

    status: Tristate
    excess: float


@dataclass(frozen=True)
class Bracket:
    """The limit is kept at `held` and broken at `broke`; None where the range has no such place."""

    held: float | None
    broke: float | None

    @property
    def estimate(self) -> float | None:
        """The geometric middle; None where nothing breaks, or everything does."""
        if self.held is None or self.broke is None:
            return None
        return sqrt(self.held * self.broke)


Search = Generator[float, Reading, Bracket]


class SearchLimitError(Exception):
    """A search that asked too often: its readings contradict each other."""


def beyond_limit(reading: Reading) -> bool:
    """Whether the value lies on the wrong side of its limit, however sure that is."""
    return reading.excess > 0


def bisect(
    held: float,
    broke: float,
    *,
    precision: float,
    broken: Callable[[Reading], bool] = beyond_limit,
) -> Search:
    """Narrow a bracket until broke / held <= 1 + precision; works downwards as well."""
    while max(broke / held, held / broke) > 1 + precision:
        middle = sqrt(held * broke)
        reading = yield middle
        if broken(reading):
            broke = middle
        else:
            held = middle
    return Bracket(held, broke)


def search_up(start: Bracket, limit: float, *, precision: float) -> Search:
    """Where it breaks after a change that may have helped, from where it broke before.

    Where the old breaking load still breaks, the answer is the old bracket: nothing was gained
    that the precision can show. limit: the highest load factor that is tried.
    """
    assert start.broke is not None
    held, factor = start.held, start.broke
    gained = False
    while True:
        reading = yield factor
        if reading.excess > 0:
            break
        held, gained = factor, True
        if factor >= limit:
            return Bracket(held, None)
        factor = min(factor * EXPANSION, limit)
    if not gained:
        return start
    assert held is not None
    return (yield from bisect(held, factor, precision=precision))


def direction_of(readings: Iterable[Reading]) -> Direction:
    """How an objective behaves over rising loads; readings that decide nothing are passed over.

    up: kept, then broken. down: broken, then kept. mixed: it changes more than once.
    """
    decided = [reading.status for reading in readings if reading.status != "inconclusive"]
    match [status for status, _ in groupby(decided)]:
        case []:
            return "open"
        case ["pass"]:
            return "never"
        case ["fail"]:
            return "always"
        case ["pass", "fail"]:
            return "up"
        case ["fail", "pass"]:
            return "down"
        case _:
            return "mixed"


def lowest_break(readings: Sequence[tuple[float, Reading]]) -> Bracket:
    """Where a limit is first broken, of rising loads.

    The first load that fails with confidence counts, and with it those right below it that are
    beyond the limit as well. Where none fails with confidence, the highest load decides by its
    value. So one noisy value at a low load is no break.
    """
    failing = [at for at, (_, reading) in enumerate(readings) if reading.status == "fail"]
    at = failing[0] if failing else len(readings) - 1
    if not readings or readings[at][1].excess <= 0:
        return Bracket(readings[-1][0] if readings else None, None)
    while at and readings[at - 1][1].excess > 0:
        at -= 1
    return Bracket(readings[at - 1][0] if at else None, readings[at][0])


def objective_bracket(readings: Sequence[tuple[float, Reading]]) -> Bracket:
    """Where one objective breaks, by how it behaves over the swept loads.

    One that never fails with confidence has no break, whatever a noisy value shows; of one that
    is nowhere decided nothing is known.
    """
    match direction_of(reading for _, reading in readings):
        case "open":
            return Bracket(None, None)
        case "never":
            return Bracket(readings[-1][0], None)
        case "down":
            return recovery(readings)
        case _:
            return break_after_pass(readings)


def break_after_pass(readings: Sequence[tuple[float, Reading]]) -> Bracket:
    """The lowest break above the first load that passes: for limits that low loads break, too."""
    for at, (_, reading) in enumerate(readings):
        if reading.status == "pass":
            return lowest_break(readings[at:])
    return lowest_break(readings)


def recovery(readings: Sequence[tuple[float, Reading]]) -> Bracket:
    """For a limit that low loads break: the first load that passes, and the one below it."""
    for at, (factor, reading) in enumerate(readings):
        if reading.status == "pass":
            return Bracket(factor, readings[at - 1][0] if at else None)
    return Bracket(None, readings[-1][0] if readings else None)


def certain(
    readings: Iterable[tuple[float, Reading]], bracket: Bracket
) -> tuple[float | None, float | None]:
    """The largest load below a break that passes with confidence, and the smallest that fails."""
    known = sorted(readings)
    top = bracket.held or 0.0
    bottom = bracket.broke if bracket.broke is not None else float("inf")
    passed = [factor for factor, reading in known if factor <= top and reading.status == "pass"]
    failed = [factor for factor, reading in known if factor >= bottom and reading.status == "fail"]
    return max(passed, default=None), min(failed, default=None)


Key = TypeVar("Key", bound=Hashable)


def in_step(
    searches: Mapping[Key, Search],
    ask: Callable[[Sequence[tuple[Key, float]]], Sequence[Reading]],
    found: MutableMapping[Key, Bracket],
) -> None:
    """Run many searches round by round; each round's questions go out as one batch.

    found: filled as searches end, so that an interrupt keeps those that have.
    Raises: SearchLimitError after MAX_READINGS rounds.
    """
    waiting: dict[Key, float] = {}
    for key, search in searches.items():
        _advance(key, search, None, waiting, found)
    for _ in range(MAX_READINGS):
        if not waiting:
            return
        questions = list(waiting.items())
        waiting = {}
        for (key, _factor), reading in zip(questions, ask(questions), strict=True):
            _advance(key, searches[key], reading, waiting, found)
    message = f"{len(waiting)} searches found no end within {MAX_READINGS} readings"
    raise SearchLimitError(message)


def _advance(
    key: Key,
    search: Search,
    reading: Reading | None,
    waiting: MutableMapping[Key, float],
    found: MutableMapping[Key, Bracket],
) -> None:
    try:
        waiting[key] = next(search) if reading is None else search.send(reading)
    except StopIteration as end:
        found[key] = end.value
