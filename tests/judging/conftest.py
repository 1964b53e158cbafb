"""A small sale written by hand: every record follows from its rules, so tests know the answers.

Visitor v arrives v/20 s after the opening; every fourth is a bot. Each looks, reserves 1 s and
pays 2 s after arriving. The first 50 get the 50 units, everybody else is told `sold_out`. Each
answer takes 10 ms unless a test says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from doorbuster.records.audit import Audit
from doorbuster.records.run_folder import RunFolder, text_hash
from doorbuster.records.tables import TABLES

VISITORS, STOCK, PRICE_CENTS = 400, 50, 49_900
GAP_S = 0.05

SCENARIO: dict[str, Any] = {
    "version": 1,
    "name": "by-hand",
    "description": "A sale </script><b>that</b> is known in full & by heart.",
    "shop": {"lock_time": "5s", "items": [{"sku": "console", "stock": STOCK, "price": 499}]},
    "crowd": {
        "normal_load_per_s": 20,
        "load_factor": 1,
        "phases": [
            {"name": "opening", "start": 0, "duration": "10s", "shape": {"kind": "constant"}},
            {"name": "tail", "start": "10s", "duration": "10s", "shape": {"kind": "constant"}},
        ],
        "personas": {"fan": {"share": 3}, "bot": {"share": 1}},
    },
    "payments": {"channels": [{"name": "card", "share": 1}]},
    "service": {
        "stations": [{"name": "web", "servers": 1}],
        "browse": [{"station": "web", "time": "10ms"}],
        "reserve": [{"station": "web", "time": "10ms"}],
        "pay": [{"station": "web", "time": "10ms"}],
    },
}

LIVE: dict[str, Any] = {
    "workers": [{"index": 0, "lost": False}],
    "generator": {
        "worker_count": 1,
        "lost_workers": [],
        "dropped": 0,
        "in_flight_max": 3,
        "in_flight_limit": 100,
        "clock_bound_s": 0.0001,
        "cpu_fraction_max": 0.3,
    },
}

Row = dict[str, Any]
Service = Callable[[int, str], float]


def _ten_ms(_visitor: int, _step: str) -> float:
    return 0.010


class HandMadeSale:
    """The records as lists of rows, to be spoilt by a test and then written."""

    def __init__(
        self,
        results: Path,
        *,
        world: str = "live",
        replications: int = 1,
        objectives: list[dict[str, Any]] | None = None,
        service_s: Service = _ten_ms,
    ) -> None:
        self.results = results
        self.scenario = deepcopy(SCENARIO) | {"objectives": objectives or []}
        self.visits: list[Row] = []
        self.requests: list[Row] = []
        self.stock: list[Row] = []
        for replication in range(replications):
            for visitor in range(VISITORS):
                self._visit(replication, visitor, service_s)
            self._readings(replication)
        self.audits: list[dict[str, Any]] = [_audit() for _ in range(replications)]
        self.run: dict[str, Any] = {
            "status": "complete",
            "world": world,
            "scenario_name": "by-hand",
            "scenario_path": "by-hand.yaml",
            "plan_hash": "a" * 64,
            "plan_count": VISITORS,
            "seed": 7,
            "load_factor": 1.0,
            "window": None,
            "compress": 1.0,
            "timetable": {
                "start_s": 0.0,
                "last_arrival_s": 20.0,
                "end_s": 30.0,
                "phases": [["opening", 0.0, 10.0], ["tail", 10.0, 20.0]],
            },
            "replications": replications,
            **deepcopy(LIVE if world == "live" else {}),
        }

    def _visit(self, replication: int, visitor: int, service_s: Service) -> None:
        arrival_s, wins = visitor * GAP_S, visitor < STOCK
        steps = ["browse", "reserve", "pay"] if wins else ["browse", "reserve"]
        ends = []
        for place, step in enumerate(steps):
            intended_s = arrival_s + place
            done_s = intended_s + 0.001 + service_s(visitor, step)
            reply = "sold_out" if step == "reserve" and not wins else "ok"
            ends.append(done_s)
            self.requests.append(
                {
                    "replication": replication, "visitor": visitor, "step": step, "attempt": 0,
                    "intended_s": intended_s, "sent_s": intended_s + 0.001, "done_s": done_s,
                    "status": 200, "reply": reply,
                }
            )  # fmt: skip
        self.visits.append(
            {
                "replication": replication, "visitor": visitor,
                "persona": "bot" if visitor % 4 == 3 else "fan",
                "phase": "opening" if arrival_s < 10 else "tail", "sku": "console",
                "quantity": 1, "channel": "card", "arrival_s": arrival_s, "started_s": arrival_s,
                "reserved_s": ends[1] if wins else None, "paid_s": ends[2] if wins else None,
                "left_s": ends[-1], "outcome": "sold" if wins else "sold_out",
                "price_paid_cents": PRICE_CENTS if wins else 0, "request_count": len(steps),
                "failure_count": 0, "decline_count": 0,
                **dict.fromkeys(("account", "device", "ip", "address", "card"), visitor),
            }
        )  # fmt: skip

    def _readings(self, replication: int) -> None:
        mine = [row for row in self.visits if row["replication"] == replication]
        for second in range(31):
            reserved = sum((row["reserved_s"] or 99) <= second for row in mine)
            sold = sum((row["paid_s"] or 99) <= second for row in mine)
            self.stock.append(
                {
                    "replication": replication, "at_s": float(second), "sku": "console",
                    "available": STOCK - reserved, "locked": reserved - sold, "sold": sold,
                }
            )  # fmt: skip

    def write(self, name: str = "run") -> RunFolder:
        """The run folder."""
        path = self.results / "by-hand" / name
        path.mkdir(parents=True)
        folder = RunFolder(path)
        text_file = path / "scenario.yaml"
        YAML().dump(self.scenario, text_file)
        text = text_file.read_text("utf-8")
        folder.write_run({"scenario_text": text, "scenario_hash": text_hash(text), **self.run})
        for table, rows in (
            ("visits", self.visits), ("requests", self.requests), ("stock", self.stock)
        ):  # fmt: skip
            plain = pa.schema([(f.name, _plain(f.type)) for f in TABLES[table]])
            folder.write_table(table, pa.Table.from_pylist(rows, schema=plain))
        folder.write_audits(Audit.model_validate(audit) for audit in self.audits)
        return folder


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _audit() -> dict[str, Any]:
    item = {
        "sku": "console", "initial_units": STOCK, "available_units": 0, "locked_units": 0,
        "sold_units": STOCK, "orders_paid": STOCK, "max_units_per_account": 1,
    }  # fmt: skip
    return {
        "items": [item], "payments_captured": STOCK, "captured_cents": STOCK * PRICE_CENTS,
        "orders_captured_twice": 0, "paid_cents": STOCK * PRICE_CENTS,
        "payments_without_order": 0,
    }  # fmt: skip


SaleBuilder = Callable[..., HandMadeSale]


@pytest.fixture
def hand_made(tmp_path: Path) -> SaleBuilder:
    """Builds the sale: `hand_made(world="sim", replications=5, objectives=[...])`."""

    def build(**arguments: Any) -> HandMadeSale:
        return HandMadeSale(tmp_path / "results", **arguments)

    return build
