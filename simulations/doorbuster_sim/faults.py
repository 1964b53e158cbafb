"""Faults on the sale's clock, as both engines follow them: stretches of whole nanoseconds.

A fault holds in [begin, end). Freezes and what befalls the provider only put moments off: pure
functions of a time and a list of stretches say until when. What strikes requests down is a change
at a moment: an event. docs/faults.md tells the rules.

Stretches are flat, `[begin, end, begin, end, ..., NEVER_NS]`, ordered by their beginnings: plain
lists in Python, arrays where compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from doorbuster.compiling import inlined, plain
from doorbuster.plan import FaultSpan, Timetable, fault_spans
from doorbuster.scenario.faults import (
    Freeze,
    KillProvider,
    KillShop,
    KillWorker,
    ProviderOutage,
    RestartDatabase,
    SlowDatabase,
)
from doorbuster.scenario.model import Scenario
from doorbuster_sim import clock

NEVER_NS = (1 << 63) - 1
Stretches = Sequence[int]
SLOW_WIDTH = 4
"""Numbers of one entry of `Faults.slow`."""

_to_ns = plain(clock.to_ns)


@inlined
def put_off(stretches: Stretches, at_ns: int) -> int:
    """The first moment from one on that lies in none of the stretches."""
    place = 0
    while stretches[place] <= at_ns:
        at_ns = max(at_ns, stretches[place + 1])
        place += 2
    return at_ns


@inlined
def work_ends(stretches: Stretches, begin_ns: int, work_ns: int) -> int:
    """When work is done that begins at a moment and stands still inside the stretches."""
    end_ns = begin_ns + work_ns
    place = 0
    while stretches[place] <= end_ns:
        if begin_ns < stretches[place + 1]:
            end_ns += stretches[place + 1] - max(begin_ns, stretches[place])
        place += 2
    return end_ns


@inlined
def extra_work(slow: Stretches, station: int, begin_ns: int) -> int:
    """By how much longer a service takes that begins at a moment."""
    place, extra_ns = 0, 0
    while slow[place] <= begin_ns:
        if begin_ns < slow[place + 1] and slow[place + 2] == station:
            extra_ns += slow[place + 3]
        place += SLOW_WIDTH
    return extra_ns


@inlined
def next_sweep(restarts: Stretches, sweep_ns: int, now_ns: int) -> int:
    """When the next sweep after a moment is due.

    Sweeps are due at the opening, at whole multiples after it, and when a shop that was killed is
    back. One that is due while the shop stands still takes place at the end of that.
    """
    due_ns = 0
    if now_ns >= 0:
        due_ns = now_ns - now_ns % sweep_ns + sweep_ns
    place = 0
    while restarts[place] <= now_ns:
        place += 1
    return min(due_ns, restarts[place])


class Change(NamedTuple):
    """A moment at which a fault strikes requests or servers down, or is over."""

    at_ns: int
    begins: bool
    number: int
    """The fault's place in the scenario: of several at one moment the first comes first."""
    kind: str
    station: int
    """The place of its station in the scenario; 0 for the whole shop."""


class Faults(NamedTuple):
    """All faults of a run."""

    frozen: list[int]
    """The shop does not move."""
    still: list[int]
    """The shop is frozen or dead: it does not sweep."""
    restarts: list[int]
    """When a shop that was killed moves again; ends with NEVER_NS."""
    gone: list[int]
    """The provider is frozen or dead: it decides nothing."""
    deaf: list[int]
    """No answer of the provider reaches the shop: one of the two is frozen or dead."""
    unheard: list[int]
    """A charge that is asked for comes to nothing, and is asked for again."""
    apart: list[int]
    """No charge can be asked for: `deaf` or `unheard`."""
    slow: list[int]
    """Begin, end, station and extra work, in nanoseconds; ends with NEVER_NS."""
    changes: list[Change]
    """In the order in which they happen."""

    @classmethod
    def of(cls, scenario: Scenario, timetable: Timetable) -> Faults:
        """The faults of a scenario that fall into a run."""
        spans = _in_ns(fault_spans(scenario, timetable))
        frozen = [span for span in spans if _freezes(span, "shop")]
        killed = [span for span in spans if isinstance(span.fault, KillShop)]
        still = _flat(frozen + killed)
        gone = [
            span
            for span in spans
            if isinstance(span.fault, KillProvider) or _freezes(span, "provider")
        ]
        unheard = [span for span in spans if isinstance(span.fault, ProviderOutage | KillProvider)]
        slow = [
            number
            for span in spans
            if isinstance(span.fault, SlowDatabase)
            for number in (*span[2:], station_of(scenario, span.fault), _to_ns(span.fault.extra))
        ]
        return cls(
            frozen=_flat(frozen),
            still=still,
            restarts=[*sorted(put_off_plain(still, span.end_ns) for span in killed), NEVER_NS],
            gone=_flat(gone),
            deaf=_flat(frozen + killed + gone),
            unheard=_flat(unheard),
            apart=_flat(frozen + killed + gone + unheard),
            slow=[*slow, NEVER_NS],
            changes=_changes(scenario, spans),
        )


class _Span(NamedTuple):
    number: int
    fault: object
    begin_ns: int
    end_ns: int


def _in_ns(spans: list[FaultSpan]) -> list[_Span]:
    """In nanoseconds, by their beginnings; none overlaps one of its kind by rounding."""
    over_ns: dict[str, int] = {}
    found = []
    for number, fault, begun_s, ended_s in spans:
        end_ns = _to_ns(ended_s)
        begin_ns = max(_to_ns(begun_s), over_ns.get(fault.kind, _to_ns(begun_s)))
        if begin_ns < end_ns:
            found.append(_Span(number, fault, begin_ns, end_ns))
            over_ns[fault.kind] = end_ns
    return sorted(found, key=lambda span: (span.begin_ns, span.number))


def _freezes(span: _Span, who: str) -> bool:
    return isinstance(span.fault, Freeze) and span.fault.of == who


def _flat(spans: list[_Span]) -> list[int]:
    bounds = sorted((span.begin_ns, span.end_ns) for span in spans)
    return [*(bound for pair in bounds for bound in pair), NEVER_NS]


def station_of(scenario: Scenario, fault: object) -> int:
    """The place of the station that a fault hits; 0 for one that hits the whole shop."""
    service = scenario.service
    names = [station.name for station in service.stations]
    if isinstance(fault, KillWorker):
        return names.index(fault.station or names[0])
    if isinstance(fault, RestartDatabase | SlowDatabase):
        return names.index(fault.station or service.reserve[-1].station)
    return 0


def _changes(scenario: Scenario, spans: list[_Span]) -> list[Change]:
    found = []
    for number, fault, begin_ns, end_ns in spans:
        if isinstance(fault, KillShop | KillWorker | RestartDatabase):
            station = station_of(scenario, fault)
            found.append(Change(begin_ns, True, number, fault.kind, station))
            found.append(Change(end_ns, False, number, fault.kind, station))
    return sorted(found, key=lambda change: change[:3])


# Called from Python, the plain forms are far faster, and equal.
put_off_plain, work_ends_plain = plain(put_off), plain(work_ends)
extra_work_plain, next_sweep_plain = plain(extra_work), plain(next_sweep)
