"""Stores and strategies on one hot item and on 1,000, live and as the simulation predicts it.

    .venv/bin/python benchmarks/strategies.py [--seeds 2] [--extra 15ms]

The same crowd, 80 buyers a second for 4 s who look, reserve and never pay, comes to the reference
shop on each store with each correct strategy, in turn, and to the simulated shop. Every
transaction of the database takes `extra` longer (`faults: slow_database`), as it does behind a
network and a disk that is asked to keep what it was given: on loopback without it the shop's
processor decides, and all strategies are alike. The simulation knows of the shop what a calm run
of each combination tells: the median time of a page and of a reservation when nobody waits; and of
PostgreSQL how long a row is kept by an `optimistic` transaction that was overtaken.

Orders a second are those confirmed in the last three seconds of arrivals; response times count
from the intended moment. The last table holds the order of the strategies in both worlds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ruamel.yaml import YAML

from doorbuster.measures.columns import STEPS, Requests, requests_of, take
from doorbuster.measures.latency import response_s
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.run_records import read_records
from doorbuster.plan import Timetable, build_plan
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.durations import parse_duration
from doorbuster.scenario.reading import read_scenario
from doorbuster.scenario.shop import BROKEN_STRATEGIES, STRATEGIES
from doorbuster.verdict.judge import judge_records
from doorbuster.verdict.validity import DISPATCH_DELAY_LIMIT_S
from doorbuster.vocabulary import Reply
from doorbuster_load.launch import LiveOptions, run_live
from doorbuster_shop.running import RunningShop, running_shop
from doorbuster_shop.store.postgresql import CONNECTION_MAX
from doorbuster_shop.store.strategies.buckets import BUCKET_COUNT
from doorbuster_sim import simulate_sale

ARRIVALS_PER_S = 80
CALM_PER_S = 8
SELLING_S, CALM_S = 4, 10
"""How long visitors come."""
ITEM_COUNTS = (1, 1000)
WEB_S = 0.001
"""What the shop's one process does for a request to PostgreSQL, the database aside: assumed."""
VOID_TRIES = 4
"""How often a live run is repeated whose measurement was void."""
TOLD_APART = 1.1
"""Two figures that differ by less say nothing about an order."""
TOLD_APART_S = DISPATCH_DELAY_LIMIT_S
"""Nor do two times that are nearer: a generator may be so late."""


class VoidError(Exception):
    """No live run of a combination was a valid measurement."""


class Case(NamedTuple):
    """One way of keeping stock."""

    store: str
    strategy: str

    @property
    def redis(self) -> str | None:
        """The counter's server."""
        is_shared = self.store == "postgresql" and self.strategy == "prededuct"
        return "redis" if is_shared else None

    @property
    def words(self) -> str:
        """Its name in the tables."""
        return f"{self.store}{' + redis' if self.redis else ''}, `{self.strategy}`"


CASES = [
    Case(store, strategy)
    for store in ("sqlite", "postgresql")
    for strategy in STRATEGIES
    if strategy not in BROKEN_STRATEGIES
]


@dataclass(frozen=True)
class Calm:
    """What the shop takes when nobody waits, seconds.

    rollback_s: an overtaken transaction, from having the row to leaving it.
    """

    browse_s: float
    reserve_s: float
    rollback_s: float


@dataclass(frozen=True)
class Figures:
    """What one sale showed: means of several by `mean_of`."""

    orders_per_s: float
    p99_s: float
    refused: float
    """Share of the reservations that the shop could not take."""


def mean_of(figures: list[Figures]) -> Figures:
    """Each figure's mean over the sales."""
    return Figures(
        float(np.mean([f.orders_per_s for f in figures])),
        float(np.mean([f.p99_s for f in figures])),
        float(np.mean([f.refused for f in figures])),
    )


@dataclass
class Row:
    """One case with one number of items in both worlds."""

    case: Case
    item_count: int
    live: list[Figures] = field(default_factory=list)
    simulated: list[Figures] = field(default_factory=list)


def sale(case: Case, item_count: int, arrivals_per_s: float, extra: str, calm: Calm | None) -> Any:
    """The scenario; without a calm run its service model is a stopgap that nobody reads."""
    stock = max(10 * ARRIVALS_PER_S * SELLING_S // item_count, 16)
    return {
        "version": 1,
        "name": f"bench-{case.store}-{case.strategy.replace('_', '-')}-{item_count}",
        "shop": {
            "lock_time": "10m",
            "strategy": case.strategy,
            "items": [
                {"sku": f"item-{number}", "stock": stock, "price": 10}
                for number in range(item_count)
            ],
        },
        "crowd": {
            "normal_load_per_s": arrivals_per_s,
            "load_factor": 1,
            "phases": [
                {
                    "name": "sale",
                    "start": 0,
                    "duration": f"{SELLING_S if calm else CALM_S}s",
                    "shape": {"kind": "constant"},
                }
            ],
            "drain": "15s",
            "personas": {
                "buyer": {
                    "share": 1,
                    "think_time": "5ms",
                    "unpaid_fraction": 1.0,
                    "payment_time": "1ms",
                    "patience": "20s",
                    "request_timeout": "30s",
                    "retry_wait": "60s",
                }
            },
        },
        "payments": {"channels": [{"name": "card", "share": 1}]},
        "faults": slow_database(case, extra),
        "service": service(case, parse_duration(extra) if is_slow(case) else 0.0, calm),
    }


def is_slow(case: Case) -> bool:
    """Whether the database stands apart from the shop."""
    return case.store == "postgresql"


def slow_database(case: Case, extra: str) -> Any:
    """From before the sale until its last reservation is through."""
    whole = {"kind": "slow_database", "start": "-1s", "duration": "15s", "extra": extra}
    return [whole] if is_slow(case) else []


def service(case: Case, extra_s: float, calm: Calm | None) -> Any:
    """What a calm run says of the stations; without one a stopgap that nobody reads.

    SQLite's statements run in the shop's one process, so that is all there is. Before PostgreSQL
    stand 16 connections; the shop's own work is WEB_S, a page holds a connection for all the rest.
    A reservation does so for what it has in common with a page, and its row for what is beyond.
    """
    calm = calm or Calm(0.001 + extra_s, 0.002 + extra_s, 0.0)
    # The fault adds `extra_s` to each passage of `row`, the last station of a reservation.
    if case.store == "sqlite":
        return {
            "network": "0.1ms",
            "stations": [{"name": "row", "servers": 1}],
            "browse": [passage("row", calm.browse_s - extra_s)],
            "reserve": [passage("row", calm.reserve_s - extra_s)],
            "pay": [passage("row", calm.browse_s - extra_s)],
        }
    common_s = min(calm.browse_s, calm.reserve_s) - extra_s - WEB_S
    return {
        "network": "0.1ms",
        "stations": [
            {"name": "web", "servers": 1},
            {"name": "connections", "servers": CONNECTION_MAX},
            {
                "name": "row",
                "servers": BUCKET_COUNT if case.strategy == "buckets" else 1,
                "per_item": True,
            },
        ],
        "browse": [passage("web", WEB_S), passage("connections", calm.browse_s - WEB_S)],
        "reserve": [
            passage("web", WEB_S),
            passage("connections", common_s),
            passage("row", calm.reserve_s - extra_s - WEB_S - common_s),
        ],
        "pay": [passage("web", WEB_S)],
        "rollback": duration(calm.rollback_s),
    }


def passage(station: str, time_s: float) -> Any:
    """One stay at one station."""
    return {"station": station, "time": duration(max(time_s, 5e-5))}


def duration(time_s: float) -> str:
    """As a scenario has it."""
    return f"{time_s * 1e6:.0f}us"


def figures_of(requests: Requests) -> Figures:
    """Reservations of the last three seconds of arrivals."""
    reserve = requests.step == STEPS.index("reserve")
    done = reserve & (requests.done_s >= 1) & (requests.done_s < SELLING_S)
    wished = take(requests, reserve & (requests.intended_s >= 1))
    confirmed = int((requests.reply[done] == int(Reply.OK)).sum())
    return Figures(
        confirmed / (SELLING_S - 1),
        quantile(np.nan_to_num(response_s(wished), nan=np.inf), 0.99),
        float((wished.reply == int(Reply.OVERLOADED)).mean()),
    )


def calm_of(requests: Requests, rollback_s: float) -> Calm:
    """Medians from being sent to the answer."""
    service_s = requests.done_s - requests.sent_s
    browse, reserve = (
        float(np.median(service_s[requests.step == STEPS.index(step)]))
        for step in ("browse", "reserve")
    )
    return Calm(browse, reserve, rollback_s)


def kept_in_vain_s() -> float:
    """What `overtaken.py` measures, seconds."""
    command = [sys.executable, str(Path(__file__).with_name("overtaken.py"))]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def written(content: Any, folder: Path) -> Path:
    """The scenario as a file."""
    path = folder / f"{content['name']}-{content['crowd']['normal_load_per_s']}.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)
    return path


def lived(shop: RunningShop, path: Path, seed: int, folder: Path) -> Requests:
    """The requests of a live run that is no void measurement."""
    options = LiveOptions(target=shop.url, admin_token=shop.admin_token)
    for _ in range(VOID_TRIES):
        run = run_live(read_scenario(path), RunSettings(seed), options, folder / "results")
        if run.folder is None:
            sys.exit(f"{path.stem}: {' '.join(run.sentences)}")
        records = read_records(RunFolder.open(run.folder))
        checks = judge_records(records).checks
        if not any(c.kind == "validity" and c.status == "invalid" for c in checks):
            return records.requests
    message = f"{path.stem}: void {VOID_TRIES} times: the machine is too busy"
    raise VoidError(message)


def simulated(path: Path, seed: int) -> Requests:
    """The requests of the same crowd, simulated."""
    scenario = read_scenario(path).scenario
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, seed, timetable)
    return requests_of(simulate_sale(scenario, plan, timetable, seed=seed).requests)


def row_of(
    case: Case, item_count: int, seeds: range, extra: str, rollback_s: float, folder: Path
) -> Row:
    """One case with one number of items: a calm run, then each crowd in both worlds."""
    row = Row(case, item_count)
    path = written(sale(case, item_count, CALM_PER_S, extra, None), folder)
    own = folder / path.stem
    with running_shop(path, seed=1, folder=own, store=case.store, redis=case.redis) as shop:
        calm = calm_of(lived(shop, path, 1, own), rollback_s)
        path = written(sale(case, item_count, ARRIVALS_PER_S, extra, calm), folder)
        for seed in seeds:
            row.live.append(figures_of(lived(shop, path, seed, own)))
            row.simulated.append(figures_of(simulated(path, seed)))
    return row


def line(row: Row) -> str:
    """One line of the table."""
    cells = [row.case.words, f"{row.item_count:,}"]
    for figures in (mean_of(row.live), mean_of(row.simulated)):
        cells += [
            f"{figures.orders_per_s:.0f}",
            f"{figures.p99_s * 1e3:,.0f}",
            f"{figures.refused:.1%}",
        ]
    return f"| {' | '.join(cells)} |"


def ratio(one: float, other: float) -> float:
    """One to the other, where nothing may have been sold, or some never answered."""
    if one == other:
        return 1.0
    return one / other if other else np.inf


def order(rows: list[Row], name: str, told_apart: float) -> str:
    """How the pairs that the live shop tells apart stand in the simulation.

    told_apart: the least difference, in the figure's unit.
    """
    agree, opposed = 0, []
    for one, other in combinations(rows, 2):
        live = ratio(getattr(mean_of(one.live), name), getattr(mean_of(other.live), name))
        told = ratio(getattr(mean_of(one.simulated), name), getattr(mean_of(other.simulated), name))
        if 1 / TOLD_APART < live < TOLD_APART:
            continue
        apart = abs(getattr(mean_of(one.live), name) - getattr(mean_of(other.live), name))
        if apart < told_apart:
            continue
        if (live > 1) == (told > 1):
            agree += 1
        else:
            opposed.append(
                f"{one.case.words} ({one.item_count:,}) against {other.case.words} "
                f"({other.item_count:,}): live {live:.2f}, simulated {told:.2f}"
            )
    lines = [f"{name}: {agree} of {agree + len(opposed)} pairs in the same order", *opposed]
    return "\n".join(f"- {text}" for text in lines)


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--extra", default="15ms")
    parser.add_argument("--store", help="only this one")
    parser.add_argument("--strategy", help="only this one")
    asked = parser.parse_args()
    print(
        "| store and strategy | items | orders/s | reserve p99 (ms) | overloaded | "
        "simulated: orders/s | reserve p99 (ms) | overloaded |"
    )
    print("|---|---|---|---|---|---|---|---|")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="doorbuster-bench-") as name:
        cases = [
            case
            for case in CASES
            if asked.store in (None, case.store) and asked.strategy in (None, case.strategy)
        ]
        rollback_s = kept_in_vain_s() if any(is_slow(case) for case in cases) else 0.0
        for case, item_count in product(cases, ITEM_COUNTS):
            seeds = range(1, asked.seeds + 1)
            try:
                rows.append(row_of(case, item_count, seeds, asked.extra, rollback_s, Path(name)))
            except VoidError as error:
                print(error, file=sys.stderr)
                print(f"| {case.words} | {item_count:,} | void | | | | | |", flush=True)
                continue
            print(line(rows[-1]), flush=True)
    print(f"\nAn overtaken transaction keeps its row for {rollback_s * 1e3:.2f} ms.\n")
    print(order(rows, "orders_per_s", 0.0))
    print(order(rows, "p99_s", TOLD_APART_S))


if __name__ == "__main__":
    main()
