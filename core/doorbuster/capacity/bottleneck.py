"""The bottleneck by intervention: relax one resource at a time and see what moves the break.

What is busy, what queues and what refuses are symptoms. The cause is the resource whose relief
alone lets the shop carry more. A queue bound that refuses while its servers have time is a bound
problem; one that refuses because they have none is a server problem: removing the bound moves the
first and not the second, doubling the servers the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Literal

from doorbuster.capacity.evidence import ChannelEvidence, StationEvidence
from doorbuster.capacity.levers import (
    PAYMENTS,
    QUEUE_UNBOUNDED,
    Lever,
    Variant,
    is_hot_row,
    visited_stations,
)
from doorbuster.capacity.search import Bracket
from doorbuster.capacity.trial import JudgedObjective, Trial
from doorbuster.scenario.model import Scenario

CauseKind = Literal["servers", "hot_row", "queue", "channel", "timeout", "service_time"]
_ORDER: tuple[CauseKind, ...] = (
    "hot_row", "servers", "queue", "channel", "timeout", "service_time",
)  # fmt: skip
"""Of two that help alike, the earlier is the plainer explanation."""
CHANNEL_PULLS = 4
"""A relaxed channel answers in a sixteenth of its time, never late, and declines nothing."""
ALIKE = 2.0
"""Gains that differ by less than so many precisions of the search are alike."""


@dataclass(frozen=True)
class Suspect:
    """A resource and the intervention that relieves it."""

    cause: CauseKind
    resource: str
    variant: Variant


@dataclass(frozen=True)
class Relief:
    """What relieving a suspect does: the break after it, and the objective at the old break."""

    suspect: Suspect
    bracket: Bracket
    excess: float

    def gain(self, before: Bracket) -> float:
        """Logarithm of the factor by which the breaking load grows; inf beyond the range."""
        if self.bracket.broke is None:
            return inf
        assert before.broke is not None
        return log(self.bracket.broke / before.broke)


def suspects_of(scenario: Scenario) -> list[Suspect]:
    """Every resource of the model: the pools twice as large, the rows twice as fast, and so on."""
    found: list[Suspect] = []
    for station in visited_stations(scenario):
        name = station.name
        swifter: Variant = ((Lever(name, "speed"), 1),)
        if is_hot_row(station):
            found.append(Suspect("hot_row", name, swifter))
        else:
            more = Lever(name, "servers", 1)
            found += [
                Suspect("servers", name, ((more, station.servers),)),
                Suspect("service_time", name, swifter),
            ]
        found.append(Suspect("queue", name, ((Lever(name, "queue"), QUEUE_UNBOUNDED),)))
    for channel in scenario.payments.channels:
        variant = (
            (Lever(channel.name, "declines"), 1),
            (Lever(channel.name, "late"), 1),
            (Lever(channel.name, "latency"), CHANNEL_PULLS),
        )
        found.append(Suspect("channel", channel.name, tuple(sorted(variant))))
    return [*found, Suspect("timeout", PAYMENTS, ((Lever(PAYMENTS, "timeout"), 1),))]


def ranked(reliefs: Sequence[Relief], before: Bracket, precision: float) -> list[Relief]:
    """The strongest first; those that are alike with the strongest in the order of plainness.

    Alike is what differs by less than the search could err, so that noise decides nothing; a
    relief without any gain is like no other.
    """
    step = ALIKE * log(1 + precision)
    rest = sorted(reliefs, key=lambda relief: -relief.gain(before))
    found: list[Relief] = []
    while rest:
        top = rest[0].gain(before)
        floor = top - step if top > 0 else top
        alike = [r for r in rest if r.gain(before) >= floor and (r.gain(before) > 0 or top <= 0)]
        alike.sort(key=lambda relief: (_ORDER.index(relief.suspect.cause), relief.excess))
        found += alike
        rest = [relief for relief in rest if relief not in alike]
    return found


def moves_clearly(relief: Relief, before: Bracket, precision: float) -> bool:
    """Whether a relief alone moves the break by more than the search could err."""
    return relief.gain(before) > ALIKE * log(1 + precision)


def plainest_last(suspects: Sequence[Suspect]) -> list[Suspect]:
    """The order in which explanations are done without."""
    return sorted(suspects, key=lambda suspect: -_ORDER.index(suspect.cause))


SymptomKind = Literal["refused", "queue", "payment", "unsold", "slow"]
_A_QUEUE = 5.0
"""Fewer waiting requests explain no broken limit."""


@dataclass(frozen=True)
class Symptom:
    """Where the broken objective shows itself; not yet why."""

    kind: SymptomKind
    station: StationEvidence | None = None
    channel: ChannelEvidence | None = None


def symptom_of(trial: Trial, broken: JudgedObjective, kinds: Mapping[str, str]) -> Symptom:
    """What an operator would see at the breaking load. kinds: kind of each objective by name."""
    refusing = max(trial.stations, key=lambda s: s.refused, default=None)
    waiting = max(trial.stations, key=lambda s: s.max_queue, default=None)
    slowest = max(
        (channel for channel in trial.channels if channel.payments),
        key=lambda channel: (channel.pending_fraction, channel.response_p95_s),
        default=None,
    )
    about_requests = kinds[broken.name] in ("response_time", "failed_requests")
    if refusing is not None and refusing.refused >= 1 and about_requests:
        return Symptom("refused", refusing, slowest)
    if waiting is not None and waiting.max_queue >= _A_QUEUE and about_requests:
        return Symptom("queue", waiting, slowest)
    if not about_requests:
        return Symptom("unsold", waiting, slowest)
    if slowest is not None and broken.check.facts.get("step") in ("@step.pay", "@step.poll"):
        return Symptom("payment", waiting, slowest)
    return Symptom("slow", waiting, slowest)
