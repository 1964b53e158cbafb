"""What a live target tells of its warehouses: the hook, the table, and a whole rehearsal."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.test_rehearse import DOORBUSTER, SHORT_SALE

from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import BOOKS, SHIPMENTS, TABLES, book_names
from doorbuster.scenario import Scenario
from doorbuster_load.books import rows_of, write_books
from doorbuster_load.profile.model import BookHook

HOOK = BookHook.model_validate(
    {"requests": [{"url": "/parcels"}], "rows": "$.parcels", "fields": {"warehouse": "$.from"}}
)
PARCEL = {"order_id": 7, "sku": "a", "from": "east", "units": 2, "sent_s": 1.5}
WAREHOUSES = {"east": 12, "west": 18}


def test_a_target_tells_its_shipments_in_its_own_words() -> None:
    """Numbers as names, and a return that has not happened, missing or null."""
    document = {"parcels": [PARCEL, {**PARCEL, "order_id": "x", "returned_s": None}]}
    rows = rows_of("shipments", HOOK, document, ValueError)
    expected = {"replication": 0, "sku": "a", "warehouse": "east", "units": 2, "sent_s": 1.5}
    assert rows == [{**expected, "order_id": name, "returned_s": None} for name in ("7", "x")]
    for broken, what in (({"units": "two"}, "units"), ({"from": None}, "warehouse")):
        document = {"parcels": [{**PARCEL, **broken}]}
        with pytest.raises(ValueError, match=f"shipments hook: row 0: {what}"):
            rows_of("shipments", HOOK, document, ValueError)


def test_nothing_sent_is_not_nothing_told(tmp_path: Path) -> None:
    """A book that is told and empty is a table without rows; one that is not told is no table."""
    folder = RunFolder.create(tmp_path, scenario_name="x", world="live", seed=1)
    write_books(folder, {"shipments": []})
    for name in TABLES:
        folder.spool(name, "test").close()
    for _ in range(2):  # As it is written, and once the tables are whole.
        assert (folder.has_table("shipments"), folder.has_table("orders")) == (True, False)
        folder.merge_spools()
    assert folder.table("shipments").equals(SHIPMENTS.empty_table())


def test_only_sales_with_warehouses_have_the_book() -> None:
    content = YAML(typ="safe").load(SHORT_SALE)
    assert book_names(Scenario.model_validate(content).shop) == ("orders", "charges")
    assert book_names(Scenario.model_validate(with_warehouses(content)).shop) == tuple(BOOKS)


def with_warehouses(content: dict[str, Any]) -> dict[str, Any]:
    """The short sale out of two warehouses, to buyers of two."""
    item = {"sku": "console", "warehouses": WAREHOUSES, "price": 499.0, "per_account_limit": 2}
    content["shop"]["items"] = [item]
    content["crowd"]["personas"]["fan"]["quantity"] = 2
    return content


@pytest.mark.live
@pytest.mark.requirement("A069")
def test_both_worlds_send_every_order_whole(tmp_path: Path) -> None:
    """Simulated and over HTTP: one table, whose parts are the orders; and a row of the verdict."""
    content = with_warehouses(YAML(typ="safe").load(SHORT_SALE))
    with (tmp_path / "short.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(content, file)
    command = [DOORBUSTER, "rehearse", "short.yaml", "--json", "--replications", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    for world in ("sim", "live"):
        folder = RunFolder.open(tmp_path / result[world]["folder"])
        checks = {c["id"]: c["status"] for c in result[world]["verdict"]["checks"]}
        assert checks["invariant.shipments"] == "pass"
        parts: Counter[tuple[int, str]] = Counter()
        sent: Counter[tuple[int, str]] = Counter()
        for row in folder.table("shipments").to_pylist():
            parts[row["replication"], row["order_id"]] += row["units"]
            sent[row["replication"], row["warehouse"]] += row["units"]
        orders = folder.table("orders").to_pylist()
        bought = {
            (o["replication"], o["order_id"]): o["quantity"]
            for o in orders
            if o["sold_s"] is not None
        }
        assert parts == bought
        assert len(parts) > 10
        assert all(units <= WAREHOUSES[name] for (_, name), units in sent.items())
