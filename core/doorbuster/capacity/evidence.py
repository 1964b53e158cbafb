"""What a trial shows of each station and channel: beside the answer, never the answer itself.

Utilisation law: the work offered to a station in a second is the sum over steps of requests a
second times mean service demand; over its servers it is the offered load, 1 its capacity.

Source: P. J. Denning, J. P. Buzen, "The Operational Analysis of Queueing Network Models",
ACM Computing Surveys 10(3), 1978.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from doorbuster.measures.columns import STEPS, Floats
from doorbuster.measures.latency import finished, response_s
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.series import Bins
from doorbuster.scenario.distributions import mean_of
from doorbuster.scenario.model import Scenario
from doorbuster.vocabulary import Action, Reply


@dataclass(frozen=True)
class StationEvidence:
    """One pool, means over the sales; of a station per item, one entry an item."""

    station: str
    item: str | None
    servers: int
    queue_limit: int
    offered_load: float
    """Work offered in the busiest second, over the servers: above 1 a queue must grow."""
    utilisation: float
    """Busy share over the whole sale."""
    max_queue: float
    refused: float


@dataclass(frozen=True)
class ChannelEvidence:
    """What buyers met who chose this channel first; means over the sales."""

    channel: str
    payments: float
    """Pay requests of a sale."""
    response_p95_s: float
    pending_fraction: float
    declined_fraction: float
    polls: float


def station_evidence(
    records: RunRecords, uses: Sequence[list[dict[str, Any]]], bins: Bins
) -> tuple[StationEvidence, ...]:
    """Every pool in the order of the service model."""
    scenario = records.scenario
    limits = {station.name: station for station in scenario.service.stations}
    found = []
    for entries in zip(*uses, strict=True):
        first = entries[0]
        station = limits[first["station"]]
        item = first.get("item")
        loads = [
            _offered_load(records, number, station.name, item, bins)
            for number in records.replications
        ]
        found.append(
            StationEvidence(
                station.name,
                item,
                station.servers,
                station.queue_limit,
                float(np.mean(loads)) / station.servers,
                float(np.mean([entry["utilisation"] for entry in entries])),
                float(np.mean([entry["max_queue"] for entry in entries])),
                float(np.mean([entry["refused"] for entry in entries])),
            )
        )
    return tuple(found)


def demands_s(scenario: Scenario, station: str) -> Floats:
    """Mean service demand at a station of one request of each step, seconds. Shape (steps,)."""
    service = scenario.service
    return np.array(
        [
            sum(
                mean_of(passage.time)
                for passage in (getattr(service, step) or service.browse)
                if passage.station == station
            )
            for step in STEPS
        ]
    )


def _offered_load(
    records: RunRecords, replication: int, station: str, item: str | None, bins: Bins
) -> float:
    """Server-seconds of work that one sale's requests bring in the busiest second."""
    requests = records.requests_in(replication)
    work = demands_s(records.scenario, station)[requests.step]
    if item is not None:
        visits = records.visits_in(replication)
        mine = np.zeros(int(visits.visitor.max(initial=0)) + 1, dtype=bool)
        mine[visits.visitor] = visits.sku == records.scenario.skus.index(item)
        work = np.where(mine[requests.visitor], work, 0.0)
    return float(bins.rate_per_s(requests.sent_s, work).max())


def channel_evidence(
    records: RunRecords, visits: Sequence[pa.Table]
) -> tuple[ChannelEvidence, ...]:
    """Every channel in the order of the scenario, by the buyers' first choice."""
    names = records.scenario.channel_names
    chosen = [
        pc.index_in(table.column("channel").cast(pa.string()), pa.array(names)).to_numpy()
        for table in visits
    ]
    return tuple(
        _channel(records, [codes == place for codes in chosen], name)
        for place, name in enumerate(names)
    )


def _channel(records: RunRecords, mine: Sequence[Any], name: str) -> ChannelEvidence:
    waits, replies, polls = [], [], 0
    for number, chooser in zip(records.replications, mine, strict=True):
        requests = records.requests_in(number)
        of_channel = chooser[requests.visitor]
        pays = of_channel & (requests.step == Action.PAY - 1) & finished(requests)
        waits.append(response_s(requests)[pays])
        replies.append(requests.reply[pays])
        polls += int((of_channel & (requests.step == Action.POLL - 1)).sum())
    sale_count = max(len(records.replications), 1)
    waited, said = np.concatenate(waits), np.concatenate(replies)
    count = max(len(said), 1)
    return ChannelEvidence(
        name,
        len(said) / sale_count,
        quantile(waited, 0.95) if len(waited) else float("nan"),
        float((said == Reply.PENDING).sum() / count),
        float((said == Reply.DECLINED).sum() / count),
        polls / sale_count,
    )
