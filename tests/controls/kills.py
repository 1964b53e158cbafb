"""kill -9 of shop, workers and provider at random moments of a sale: is anything lost?

    make kills                         51 kills in 17 sales, some 4 minutes
    make kills ARGS="--sales 3 --seed 7"

Each sale of tests/controls/sale.yaml runs live against a shop of its own, in turn on SQLite and on
PostgreSQL, with two workers, and is broken three times: the whole shop, one worker, the payment
provider, each at a random moment and for a random time. Judged are the books once all is at rest,
the shop's database against the provider's ledger, by these rules and by nothing else of ours:

- who was told that the order is paid has a paid order;
- money that the provider kept stands for a paid order, and no order paid twice;
- the paid orders are worth what the ledger holds, to the cent;
- the units of an item that was for sale are all somewhere;
- a lock is released within its time and one sweep, the time aside in which the shop or the provider
  that its payment waited for was dead.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from ruamel.yaml import YAML

from doorbuster.records.audit import Audit
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.reading import read_scenario
from doorbuster_load.launch import LiveOptions, run_live
from doorbuster_shop.running import RunningShop, running_shop

SALE = Path(__file__).with_name("sale.yaml")
STORES = ("sqlite", "postgresql")
KILLED = ("kill_shop", "kill_worker", "kill_provider")
WORKERS = 2
LONGEST_S = 0.6
LEARNS_S = 2.5
"""So long it may take until the shop has asked a provider that did not answer."""
SETTLES_S = 15.0
"""So long a charge may take that the provider learnt of late."""
SLACK_S = 0.75
"""One batch of releases, and the commit that makes it visible."""

Row = dict[str, Any]


def kills(moments: random.Random) -> list[Row]:
    """One of each, at a random moment and for a random time."""
    return [
        {
            "kind": kind,
            "start": f"{moments.uniform(0.0, 2.8):.3f}s",
            "duration": f"{moments.uniform(0.1, LONGEST_S):.3f}s",
        }
        for kind in KILLED
    ]


def broken_sale(faults: list[Row], folder: Path) -> Path:
    """The sale with its three kills."""
    yaml = YAML(typ="safe")
    content = yaml.load(SALE.read_text("utf-8"))
    content["name"] = "kills"
    content["faults"] = faults
    path = folder / "kills.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)
    return path


class Books(NamedTuple):
    """What the shop's database and the provider's ledger hold once all has come to rest."""

    orders: list[Row]
    charges: list[Row]
    audit: Audit
    read_s: float
    """Seconds from the opening."""


def settled_books(shop: RunningShop, t0_s: float) -> Books:
    """Read when the provider has decided every charge, or after a while all the same."""
    headers = {"Authorization": f"Bearer {shop.admin_token}"}
    with httpx.Client(base_url=shop.url, headers=headers, timeout=10) as http:
        by_s = time.monotonic() + SETTLES_S
        while True:
            charges = http.get("/admin/charges").json()["charges"]
            is_open = any(row["state"] == "processing" for row in charges)
            if not is_open or time.monotonic() > by_s:
                break
            time.sleep(0.2)
        # What was decided last reaches the shop, and lapsed locks their sweep.
        time.sleep(LEARNS_S)
        read_s = time.time() - t0_s
        orders = http.get("/admin/orders").json()["orders"]
        charges = http.get("/admin/charges").json()["charges"]
        return Books(orders, charges, Audit.model_validate(http.get("/admin/audit").json()), read_s)


def wrongs_of(folder: RunFolder, books: Books, scenario: Scenario) -> list[str]:
    """Everything that is not as it must be, a sentence each."""
    orders, charges = books.orders, books.charges
    visits: list[Row] = folder.table("visits").to_pylist()
    faults: list[Row] = folder.run["faults"]
    if sum(fault["ended_s"] is not None for fault in faults) < len(KILLED):
        return [f"not all was broken and mended: {faults} {folder.run['reasons']}"]
    return [
        *_lost(orders, charges, visits),
        *_money(orders, charges),
        *_units(books.audit, scenario),
        *_locks(books, faults, scenario),
    ]


def _lost(orders: list[Row], charges: list[Row], visits: list[Row]) -> list[str]:
    sold = {order["order_id"] for order in orders if order["state"] == "sold"}
    kept = Counter(row["order_id"] for row in charges if row["state"] == "captured")
    told = sum(visit["outcome"] == "sold" for visit in visits)
    wrongs = [f"{name} was charged {times} times" for name, times in kept.items() if times > 1]
    wrongs += [f"{name} is paid and has no order" for name in kept if name not in sold]
    wrongs += [f"{name} is sold and not paid" for name in sold if name not in kept]
    if told > len(sold):
        wrongs.append(f"{told} visitors were told that they have paid, {len(sold)} orders are sold")
    return wrongs


def _money(orders: list[Row], charges: list[Row]) -> list[str]:
    owed = sum(order["amount_cents"] for order in orders if order["state"] == "sold")
    held = sum(row["amount_cents"] for row in charges if row["state"] == "captured")
    open_ = sum(row["state"] == "processing" for row in charges)
    wrongs = [] if owed == held else [f"orders are worth {owed} cents, the ledger holds {held}"]
    return wrongs + ([f"{open_} charges are still open"] if open_ else [])


def _units(audit: Audit, scenario: Scenario) -> list[str]:
    wrongs = []
    for item, planned in zip(audit.items, scenario.shop.items, strict=True):
        found = item.available_units + item.locked_units + item.sold_units
        if found != planned.stock or min(item.available_units, item.locked_units) < 0:
            wrongs.append(f"{item.sku}: {found} units of {planned.stock} ({item})")
    return wrongs


def _locks(books: Books, faults: list[Row], scenario: Scenario) -> list[str]:
    decided_s: dict[str, float] = {}
    for row in books.charges:
        name, until_s = row["order_id"], row["decided_s"] or row["asked_s"]
        decided_s[name] = max(decided_s.get(name, until_s), until_s)
    wrongs = []
    for order in books.orders:
        if order["state"] not in ("locked", "released"):
            continue
        due_s = order["expires_s"]
        if order["order_id"] in decided_s:
            due_s = max(due_s, decided_s[order["order_id"]] + LEARNS_S)
        for fault in faults:
            if fault["begun_s"] - SLACK_S <= due_s + scenario.shop.release_sweep:
                due_s = max(due_s, fault["ended_s"])
        latest_s = due_s + scenario.shop.release_sweep + SLACK_S
        gone_s = books.read_s if order["state"] == "locked" else order["released_s"]
        if gone_s > latest_s:
            wrongs.append(f"{order['order_id']}: locked until {gone_s:.2f}, due {latest_s:.2f}")
    return wrongs


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Break as many sales as were asked for; exit code 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sales", type=int, default=17)
    parser.add_argument("--first", type=int, default=0, help="sales to pass over")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    moments = random.Random(asked.seed)
    killed, paid, broken, wrongs = 0, 0, 0, 0
    plan = [kills(moments) for _ in range(asked.first + asked.sales)]
    for number, faults in enumerate(plan[asked.first :], asked.first):
        store = STORES[number % len(STORES)]
        with tempfile.TemporaryDirectory(prefix="doorbuster-kills-") as name:
            folder = Path(name)
            path = broken_sale(faults, folder)
            with running_shop(
                path, seed=number, folder=folder, store=store, worker_count=WORKERS
            ) as shop:
                options = LiveOptions(target=shop.url, admin_token=shop.admin_token)
                run = run_live(read_scenario(path), RunSettings(number), options, folder)
                if run.folder is None:
                    sys.exit(" ".join(run.sentences))
                records = RunFolder.open(run.folder)
                t0_s = datetime.fromisoformat(records.run["t0_utc"]).timestamp()
                books = settled_books(shop, t0_s)
            found = wrongs_of(records, books, read_scenario(path).scenario)
            orders = books.orders
            replies = Counter(records.table("requests").column("reply").to_pylist())
        killed += len(KILLED)
        paid += sum(order["state"] == "sold" for order in orders)
        broken += replies["error"]
        wrongs += len(found)
        _say(
            f"sale {number + 1}, {store}: {killed} kills so far, {len(orders)} orders, "
            f"{replies['error']} broken requests, {len(found)} wrong"
        )
        for sentence in found:
            _say(f"  {sentence}")
    _say(f"{killed} kills, {broken} broken requests, {paid} paid orders, {wrongs} wrong")
    sys.exit(1 if wrongs or not broken else 0)


if __name__ == "__main__":
    main()
