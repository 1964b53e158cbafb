"""The positive controls: does every broken way of running a shop get caught, and no correct one?

    make controls                          everything, in simulation and live
    make controls ARGS="--world sim"       without a shop
    make controls ARGS="check_then_write forget --store postgresql --runs 3"
    make controls ARGS="--keep controls"   goes on where it was interrupted: keeps each sale

For each strategy, each policy about money, each place of the lock and each way to count a coupon or
to pay a refund out it simulates and runs a small sale many times, judges each one by itself, and
prints one table: in how many sales each detector fired. A broken control must be found in every
sale, a correct one in none; otherwise the exit code is 1. Of four sales of a
correct shop three are broken in the middle, each in another way: processes are killed or frozen,
the database is restarted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from tests.controls.tried import Kept, Tried, table

from doorbuster.detectors.failures import failures_of
from doorbuster.exit_codes import INVALID, PASS
from doorbuster.measures.run_records import RunRecords, read_records
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.reading import read_scenario
from doorbuster.scenario.refunds import BROKEN_PAYOUTS, PAYOUTS
from doorbuster.scenario.shop import (
    BROKEN_LATE_PAYMENTS,
    BROKEN_REDEEMS,
    BROKEN_STRATEGIES,
    BROKEN_UNANSWERED_CHARGES,
    LATE_PAYMENTS,
    LOCK_POINTS,
    REDEEMS,
    STRATEGIES,
    UNANSWERED_CHARGES,
    Shop,
)
from doorbuster.verdict.failures import books_of, told
from doorbuster.verdict.judge import judge_records
from doorbuster_load.launch import LiveOptions, run_live
from doorbuster_shop.running import running_shop

SALE = Path(__file__).with_name("sale.yaml")
DOORBUSTER = str(Path(sys.executable).parent / "doorbuster")
BROKEN_RUNS, CORRECT_RUNS = 10, 20
VOID_MAX_FRACTION = 1.0
"""A measurement that came too late is no measurement and is repeated; this often and no more."""
FIRST_SEED = 1
MUST_BE_FOUND: dict[str, frozenset[str]] = {
    "check_then_write": frozenset({"oversell"}),
    "prededuct_without_return": frozenset({"stock_leak"}),
    "unguarded_release": frozenset({"paid_but_released"}),
    "stuck_sold_out": frozenset({"zombie_sold_out"}),
    "stale_expiry": frozenset({"paid_but_released"}),
    "scattered_buckets": frozenset({"fragmentation"}),
    "forget": frozenset({"paid_and_lost"}),
    "charge_again": frozenset({"double_charge"}),
    "redeem_check_then_write": frozenset({"coupon_overuse"}),
    "payout_mark_only": frozenset({"paid_and_lost"}),
}
"""The failure that each broken way was built to show; it may show more."""
LATECOMERS: dict[str, Any] = {
    "name": "latecomers",
    "start": "7s",
    "duration": "500ms",
    "shape": {"kind": "constant", "level": 0.1},
}
"""Ten visitors, by whom a sale lasts longer: a live one ends when everybody has left."""
COUPON: dict[str, Any] = {"limit": 8, "off": 300.00, "per_account": 1}
"""For a third of the orders; everybody brings it where ways to count it are tried."""
REFUND: dict[str, Any] = {"delay": "200ms", "within": "10s"}
REGRET: dict[str, Any] = {"refund_fraction": 0.5, "refund_after": "200ms"}
"""Of everybody, where ways to pay refunds out are tried."""
AT_THE_CART: dict[str, Any] = {"cart_time": "100ms", "abandon_fraction": 0.1}
"""Of everybody, where carts lock."""
Faults = list[dict[str, Any]]
KILLS: tuple[Faults, ...] = (
    [],
    [{"kind": "kill_shop", "start": "900ms", "duration": "400ms"}],
    [
        {"kind": "kill_provider", "start": "500ms", "duration": "500ms"},
        {"kind": "freeze", "start": "1300ms", "duration": "200ms"},
    ],
    [{"kind": "restart_database", "start": "800ms", "duration": "500ms"}],
)
"""What breaks during the sales of a correct shop, in turn."""
KILLED_WORKER = {"kind": "kill_worker", "start": "700ms", "duration": "400ms"}
"""In place of a restart of SQLite, which lives in the shop."""
NAMED_BY_FIELD = ("redeem", "payout", "lock_point")
"""Fields whose values say too little alone."""
NEEDS_LARGE_WISHES = frozenset({"scattered_buckets"})
WISH_UNITS, LARGE_STOCK_UNITS = 4, 56
"""Of 7 units in each of 8 buckets 4 are sold and 3 are left: 24 that no wish for 4 gets."""
NEEDS_LATECOMERS = frozenset({"forget", "mark_only"})
"""`paid_and_lost` judges only money that a shop has had, or owed, for 5 s."""


@dataclass(frozen=True)
class Control:
    """One way of running a shop: a field of the scenario's `shop` with a value.

    `redeem` and `payout` are fields of its coupon and its refund, which only their controls have.
    """

    field: str
    value: str
    is_broken: bool

    @property
    def word(self) -> str:
        """What chooses it on the command line: the value, with its field where it is not alone."""
        return f"{self.field}_{self.value}" if self.field in NAMED_BY_FIELD else self.value

    @property
    def row(self) -> str:
        """Its name in the table: the strategy, or the field with its value."""
        return self.value if self.field == "strategy" else f"{self.field}: {self.value}"

    @property
    def must_be_found(self) -> frozenset[str]:
        """The failures of which one must be found in every sale; none for a correct shop."""
        return MUST_BE_FOUND[self.word] if self.is_broken else frozenset()

    def faults(self, store: str) -> list[Faults]:
        """What breaks in its sales, in turn."""
        if self.is_broken:
            return [[]]
        return [*KILLS[:3], [KILLED_WORKER]] if store == "sqlite" else [*KILLS]

    def changed(self, scenario: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
        """The scenario of this control, with what breaks in it."""
        changed = deepcopy(dict(scenario))
        shop, crowd = changed["shop"], changed["crowd"]
        shop.update(self._own_part)
        if self.field == "redeem":
            for persona in crowd["personas"].values():
                persona["coupon_fraction"] = 1.0
        if self.field == "payout":
            for persona in crowd["personas"].values():
                persona.update(REGRET)
        if self.value == "cart":
            for persona in crowd["personas"].values():
                persona.update(AT_THE_CART)
        if self.value in NEEDS_LARGE_WISHES:
            for item in shop["items"]:
                item |= {"stock": LARGE_STOCK_UNITS, "per_account_limit": WISH_UNITS}
            for persona in crowd["personas"].values():
                persona["quantity"] = WISH_UNITS
        if self.value in NEEDS_LATECOMERS:
            crowd["phases"].append(LATECOMERS)
        return {**changed, "name": self.run_name, "faults": faults}

    @property
    def _own_part(self) -> dict[str, Any]:
        """What it writes into the scenario's `shop`."""
        if self.field == "redeem":
            return {"coupon": {**COUPON, "redeem": self.value}}
        if self.field == "payout":
            return {"refund": {**REFUND, "payout": self.value}}
        return {self.field: self.value}

    @property
    def run_name(self) -> str:
        """Of its scenario, and of the folder of its runs."""
        return f"controls-{self.word.replace('_', '-')}"


def _controls() -> Iterator[Control]:
    """Every strategy, every policy that differs from what they are tried with, coupons, refunds."""
    ways: dict[str, tuple[tuple[str, ...], frozenset[Any]]] = {
        "strategy": (STRATEGIES, BROKEN_STRATEGIES),
        "late_payment": (LATE_PAYMENTS, BROKEN_LATE_PAYMENTS),
        "unanswered_charge": (UNANSWERED_CHARGES, BROKEN_UNANSWERED_CHARGES),
        "lock_point": (LOCK_POINTS, frozenset()),
    }
    for name, (values, broken) in ways.items():
        for value in values:
            if name == "strategy" or value != Shop.model_fields[name].default:
                yield Control(name, value, value in broken)
    for value in REDEEMS:
        yield Control("redeem", value, value in BROKEN_REDEEMS)
    for value in PAYOUTS:
        yield Control("payout", value, value in BROKEN_PAYOUTS)


CONTROLS = {control.word: control for control in _controls()}
"""By the word that chooses one on the command line."""


def found_in(records: RunRecords, replication: int) -> dict[str, str]:
    """Every failure in one sale with its first evidence."""
    failures = failures_of(books_of(records, replication))
    return {name: told(finding.evidence[0]) for name, finding in failures.items() if finding.count}


def broken_invariants(records: RunRecords) -> dict[str, str]:
    """Invariants that fail, over all sales of the run."""
    checks = judge_records(records).checks
    return {c.id: c.sentence() for c in checks if c.kind == "invariant" and c.status == "fail"}


def void_for(records: RunRecords) -> list[str]:
    """Why the measurement is not what was planned; nothing for one that counts."""
    checks = judge_records(records).checks
    return [c.name() for c in checks if c.kind == "validity" and c.status == "invalid"]


def written(control: Control, folder: Path, faults: Faults) -> Path:
    """The scenario of a control with what breaks in it."""
    yaml = YAML(typ="safe")
    scenario = control.changed(yaml.load(SALE.read_text("utf-8")), faults)
    words = "-".join(fault["kind"] for fault in faults)
    path = folder / f"{control.word}-{words}.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(scenario, file)
    return path


def in_simulation(control: Control, runs: int, folder: Path, kept: Kept) -> Tried:
    """As many sales, each with a crowd of its own; one run of `simulate` for each way to break."""
    results, tried = folder / "results", kept.tried(_tried(control, "simulation", runs))
    if tried.runs == runs:
        return tried
    ways = control.faults("postgresql")[:runs]
    for number, faults in enumerate(ways):
        sales = len(range(number, runs, len(ways)))
        words = ["simulate", str(written(control, folder, faults)), "--results", str(results)]
        _called([*words, "--replications", str(sales), "--seed", str(FIRST_SEED + number)])
        records = read_records(RunFolder.open(results / control.run_name / "latest"))
        for replication in records.replications:
            tried.add(found_in(records, replication))
        if not control.is_broken:
            _add_invariants(tried, records)
    kept.save(tried)
    return tried


def live(control: Control, store: str, runs: int, folder: Path, kept: Kept) -> Tried:
    """As many live runs against one shop, which is reset before each; a void one is repeated.

    A sale with kills has a shop of its own.
    """
    results = folder / "results"
    redis = "redis" if control.value.startswith("prededuct") and store == "postgresql" else None
    tried = kept.tried(_tried(control, f"live, {store}{' and redis' if redis else ''}", runs))
    ways = control.faults(store)
    sales = [read_scenario(written(control, folder, faults)) for faults in ways]
    with ExitStack() as stack:
        shop = None
        while tried.runs < runs and tried.void <= VOID_MAX_FRACTION * runs:
            sale = sales[tried.runs % len(sales)]
            seed = FIRST_SEED + tried.runs + tried.void
            if sale.scenario.faults or shop is None:
                stack.close()  # Of one that was killed nobody is left who stands by.
                own = folder / str(seed)
                shop = stack.enter_context(
                    running_shop(sale.path, seed=seed, folder=own, store=store, redis=redis)
                )
            options = LiveOptions(target=shop.url, admin_token=shop.admin_token)
            run = run_live(sale, RunSettings(seed), options, results)
            if run.folder is None or run.exit_code not in (PASS, INVALID):
                sys.exit(f"{control.row}, {tried.world}, seed {seed}: {' '.join(run.sentences)}")
            records = read_records(RunFolder.open(run.folder))
            if reasons := void_for(records):
                tried.repeat(reasons)
            else:
                tried.add(found_in(records, 0))
                if not control.is_broken:
                    _add_invariants(tried, records)
            kept.save(tried)
    return tried


def _tried(control: Control, world: str, wanted: int) -> Tried:
    return Tried(control.word, control.row, control.must_be_found, world, wanted)


def _add_invariants(tried: Tried, records: RunRecords) -> None:
    for name, sentence in broken_invariants(records).items():
        tried.found[name] += 1
        tried.hits += 1
        tried.first = tried.first or f"{name}: {sentence}"


def _called(words: list[str]) -> None:
    """Run the command; what it thinks of the sale is judged here. Raises: SystemExit."""
    done = subprocess.run([DOORBUSTER, *words], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        sys.exit(f"doorbuster {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")


def main() -> None:
    """Try what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("controls", nargs="*", default=[], choices=[[], *CONTROLS])
    parser.add_argument("--world", choices=["sim", "live", "both"], default="both")
    parser.add_argument("--store", action="append", help="sqlite, postgresql; default both")
    parser.add_argument("--runs", type=int, help="sales of each; default 10 broken, 20 correct")
    parser.add_argument("--keep", type=Path, help="folder that keeps every sale; goes on with it")
    asked = parser.parse_args()
    kept = Kept(asked.keep)
    done: list[Tried] = []
    with tempfile.TemporaryDirectory(prefix="doorbuster-controls-") as name:
        for word in asked.controls or CONTROLS:
            control = CONTROLS[word]
            runs = asked.runs or (BROKEN_RUNS if control.is_broken else CORRECT_RUNS)
            worlds = [] if asked.world == "live" else ["sim"]
            worlds += [] if asked.world == "sim" else asked.store or ["sqlite", "postgresql"]
            for world in worlds:
                folder = Path(name) / f"{word}-{world}"
                folder.mkdir()
                tried = (
                    in_simulation(control, runs, folder, kept)
                    if world == "sim"
                    else live(control, world, runs, folder, kept)
                )
                done.append(tried)
                sys.stderr.write(f"{control.row}, {tried.world}: {tried.hits} of {tried.runs}\n")
                if tried.first:
                    sys.stderr.write(f"  {tried.first}\n")
    sys.stdout.write(table(done) + "\n")
    sys.exit(0 if all(row.is_good for row in done) else 1)


if __name__ == "__main__":
    main()
