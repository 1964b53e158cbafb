"""One run, read back: its facts, its scenario and its tables as columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from doorbuster.measures.books import (
    NO_CHARGES,
    NO_ORDERS,
    Charges,
    Orders,
    charges_of,
    orders_of,
)
from doorbuster.measures.columns import (
    RecordsError,
    Requests,
    Rows,
    Stock,
    Visits,
    requests_of,
    rows_by_replication,
    stock_of,
    take,
    visits_of,
)
from doorbuster.measures.shipments import NO_SHIPMENTS, Shipments, shipments_of
from doorbuster.measures.tally import SaleTally
from doorbuster.records.audit import Audit
from doorbuster.records.run_folder import RunFolder, RunFolderError
from doorbuster.rules.lines import Lines
from doorbuster.scenario.model import Scenario


@dataclass(frozen=True)
class Phase:
    """One phase as it was run: scaled by the window and the compression, seconds from T0."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class RunRecords:
    """Everything that measures are taken from. Requests may cover fewer replications.

    tallies: one a replication of a run that kept no records; visits and requests are then empty.
    orders, charges: the books; empty where the target does not tell them. shipments: likewise,
    but None, since a target that tells them may have sent nothing.
    """

    folder: RunFolder
    run: dict[str, Any]
    scenario: Scenario
    phases: tuple[Phase, ...]
    visits: Visits
    requests: Requests
    stock: Stock
    audits: tuple[Audit, ...]
    tallies: tuple[SaleTally, ...] = ()
    orders: Orders = NO_ORDERS
    charges: Charges = NO_CHARGES
    shipments: Shipments | None = None

    @property
    def world(self) -> str:
        """`sim` or `live`."""
        return str(self.run.get("world"))

    @property
    def start_s(self) -> float:
        """Start of the sale's crowd, seconds from T0."""
        return float(self.run["timetable"]["start_s"])

    @property
    def end_s(self) -> float:
        """End of the sale, seconds from T0."""
        return float(self.run["timetable"]["end_s"])

    @cached_property
    def replications(self) -> tuple[int, ...]:
        """Numbers of the replications that left any record; a live run has only 0."""
        tables = (self.visits, self.requests, self.stock)
        numbers = np.unique(np.concatenate([table.replication for table in tables]))
        return tuple(int(number) for number in numbers)

    @property
    def stock_units(self) -> tuple[int, ...]:
        """Units for sale at the opening, in the order of the scenario's items."""
        return tuple(item.stock for item in self.scenario.shop.items)

    @cached_property
    def lines(self) -> Lines:
        """What one unit of each item takes from the shelf."""
        return Lines.of(self.scenario.shop.items)

    def visits_in(self, replication: int) -> Visits:
        """The visits of one replication."""
        return take(self.visits, self._rows_of["visits"](replication))

    def requests_in(self, replication: int) -> Requests:
        """The requests of one replication."""
        return take(self.requests, self._rows_of["requests"](replication))

    def stock_in(self, replication: int) -> Stock:
        """The stock readings of one replication."""
        return take(self.stock, self._rows_of["stock"](replication))

    def orders_in(self, replication: int) -> Orders:
        """The orders of one replication."""
        return take(self.orders, self._rows_of["orders"](replication))

    def charges_in(self, replication: int) -> Charges:
        """The charges of one replication."""
        return take(self.charges, self._rows_of["charges"](replication))

    def shipments_in(self, replication: int) -> Shipments:
        """The shipments of one replication; none where they are not told."""
        if self.shipments is None:
            return NO_SHIPMENTS
        return take(self.shipments, self._rows_of["shipments"](replication))

    @cached_property
    def _rows_of(self) -> dict[str, Callable[[int], Rows]]:
        names = ("visits", "requests", "stock", "orders", "charges")
        told: dict[str, Any] = {name: getattr(self, name) for name in names}
        told["shipments"] = NO_SHIPMENTS if self.shipments is None else self.shipments
        return {name: rows_by_replication(table.replication) for name, table in told.items()}


def require_records(records: RunRecords) -> None:
    """Raises: RunFolderError for a run that was only counted."""
    if records.tallies:
        message = (
            f"{records.folder.path}: was simulated with --records none, so there is nothing to "
            "draw or compare; its verdict is in verdict.json, its counts are in tally.json"
        )
        raise RunFolderError(message)


def read_records(folder: RunFolder) -> RunRecords:
    """Read a run folder, finished or not. Raises: RunFolderError that names the file."""
    run = folder.run
    try:
        scenario = scenario_of(run)
        phases = tuple(Phase(str(n), float(a), float(b)) for n, a, b in run["timetable"]["phases"])
        _ = float(run["timetable"]["start_s"]), float(run["timetable"]["end_s"])
    except (KeyError, TypeError, ValueError, YAMLError, ValidationError) as error:
        message = f"{folder.path / 'run.json'}: no run that can be read ({error!r})"
        raise RunFolderError(message) from None
    try:
        visits = visits_of(
            folder.table("visits"),
            personas=scenario.persona_names,
            phases=[phase.name for phase in phases],
            skus=scenario.skus,
        )
        requests = requests_of(folder.table("requests"))
        stock = stock_of(folder.table("stock"), skus=scenario.skus)
        orders = orders_of(folder.table("orders"), skus=scenario.skus)
        charges = charges_of(folder.table("charges"))
        shipments = None
        if folder.has_table("shipments"):
            shipments = shipments_of(folder.table("shipments"), skus=scenario.skus)
    except RecordsError as error:
        message = f"{folder.path}: {error}"
        raise RunFolderError(message) from None
    try:
        tallies = tuple(SaleTally.from_json(data) for data in folder.tallies)
    except (KeyError, TypeError, ValueError) as error:
        message = f"{folder.path / 'tally.json'}: no tally that can be read ({error!r})"
        raise RunFolderError(message) from None
    audits = tuple(folder.audits)
    return RunRecords(
        folder,
        run,
        scenario,
        phases,
        visits,
        requests,
        stock,
        audits,
        tallies,
        orders,
        charges,
        shipments,
    )


def scenario_of(run: dict[str, Any]) -> Scenario:
    """The scenario whose text is in run.json. Raises: ValidationError, KeyError, YAMLError."""
    data = YAML(typ="safe").load(run["scenario_text"])
    for phase in data["crowd"]["phases"]:
        # A rate table in a CSV file may have moved since the run; no measure reads it.
        if phase["shape"].pop("csv", None):
            phase["shape"]["values"] = [1.0]
    return Scenario.model_validate(data)
