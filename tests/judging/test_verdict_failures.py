"""The failure modes as rows of the verdict, in the terminal, in JSON and on the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from doorbuster import exit_codes
from doorbuster.detectors.failures import DETECTORS
from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import CHARGES, ORDERS
from doorbuster.report import write_report
from doorbuster.report.catalogue import LANGUAGES, catalogue, say
from doorbuster.verdict import judge
from doorbuster.verdict.verdict import Verdict

Builder = Callable[..., Any]
NONE: dict[int, float] = {}


def with_books(
    sale: Any, name: str = "run", *, lost: int | None = None, refunds_s: dict[int, float] = NONE
) -> RunFolder:
    """The sale with order and charge of each buyer; that of `lost` was released all the same.

    refunds_s: visitors who want their money back at once, and the time until they have it.
    """
    folder: RunFolder = sale.write(name)
    buyers = [row for row in sale.visits if row["outcome"] == "sold"]
    orders, charges = [], []
    for row in buyers:
        order_id = f"{row['visitor']}-0"
        took_s = refunds_s.get(row["visitor"])
        orders.append(
            {
                "replication": row["replication"], "order_id": order_id, "sku": "console",
                "account": str(row["account"]), "quantity": 1, "amount_cents": 49_900,
                "discount_cents": 0, "state": "sold" if took_s is None else "refunded",
                "refund_asked_s": None if took_s is None else row["paid_s"],
                "returned_s": None, "reserved_s": row["reserved_s"] - 0.005,
                "expires_s": row["reserved_s"] + 4.995, "sold_s": row["paid_s"] - 0.001,
                "released_s": row["reserved_s"] + 0.5 if row["visitor"] == lost else None,
            }
        )  # fmt: skip
        charges.append(
            {
                "replication": row["replication"], "charge_id": order_id, "order_id": order_id,
                "channel": "card", "amount_cents": 49_900,
                "state": "captured" if took_s is None else "refunded",
                "asked_s": row["paid_s"] - 0.005, "decided_s": row["paid_s"] - 0.002,
                "captured_s": row["paid_s"] - 0.002,
                "refunded_s": None if took_s is None else row["paid_s"] + took_s,
            }
        )  # fmt: skip
    folder.write_table("orders", pa.Table.from_pylist(orders, _plain(ORDERS)))
    folder.write_table("charges", pa.Table.from_pylist(charges, _plain(CHARGES)))
    return folder


def _plain(schema: pa.Schema) -> pa.Schema:
    kinds = [(f.name, f.type) for f in schema]
    return pa.schema([(n, k.value_type if pa.types.is_dictionary(k) else k) for n, k in kinds])


def page_of(folder: RunFolder) -> str:
    write_report(folder.path / "report.html", folder)
    return (folder.path / "report.html").read_text("utf-8")


def rows(verdict: Verdict) -> dict[str, Any]:
    return {c.id.removeprefix("failure."): c for c in verdict.checks if c.kind == "failure"}


def test_a_good_sale_passes_all_of_them(hand_made: Builder) -> None:
    verdict = judge(with_books(hand_made()))
    found = {name: check.status for name, check in rows(verdict).items()}
    assert set(found.values()) == {"pass", "not_applicable"}
    # There was no coupon, nothing lapsed at once, and nothing broke.
    assert [name for name, status in found.items() if status == "not_applicable"] == [
        "coupon_overuse",
        "release_stampede",
        "retry_storm",
    ]
    assert verdict.exit_code == exit_codes.PASS


def test_a_released_paid_order_fails_with_its_names_and_times(hand_made: Builder) -> None:
    folder = with_books(hand_made(), lost=7)
    verdict = judge(folder)
    check = rows(verdict)["paid_but_released"]
    assert (check.status, check.value) == ("fail", 1)
    assert verdict.exit_code == exit_codes.FAILED
    assert "order_id 7-0, sku console, expires_s 6.356, released_s 1.861" in check.sentence()
    kept = json.loads((folder.path / "verdict.json").read_text("utf-8"))
    (row,) = (c for c in kept["checks"] if c["id"] == "failure.paid_but_released")
    assert row["evidence"][0]["order_id"] == "7-0"
    assert row["evidence"][0]["sold_s"] == pytest.approx(2.36)


def test_the_sale_of_several_is_named(hand_made: Builder) -> None:
    sale = hand_made(world="sim", replications=3)
    for row in sale.visits:
        row["account"] = 1 if row["replication"] == 1 and row["visitor"] < 2 else row["account"]
    check = rows(judge(with_books(sale)))["limit_bypass"]
    assert check.status == "fail"
    assert check.sentence().startswith(
        "Accounts that held more than their limit: 1 (replication 1,"
    )


def test_without_books_no_row_applies(hand_made: Builder) -> None:
    verdict = judge(hand_made().write())
    assert {check.status for check in rows(verdict).values()} == {"not_applicable"}
    assert not any("failure" in line for line in verdict.lines())


def test_a_void_measurement_leaves_only_what_the_target_proves(hand_made: Builder) -> None:
    """A late generator cannot make a shop release a paid order, but it can make a queue."""
    sale = hand_made()
    for row in sale.requests:
        row["sent_s"] += 5.0
        row["done_s"] += 5.0
    found = rows(judge(with_books(sale, lost=7)))
    assert found["paid_but_released"].status == "fail"
    assert found["stock_leak"].is_not_judged


def test_the_page_shows_evidence_and_the_stock_by_the_orders(hand_made: Builder) -> None:
    page = page_of(with_books(hand_made(), lost=7))
    assert say("section.evidence") in page
    assert "<td>7-0</td>" in page
    assert '"books.live.0.console"' in page
    good = page_of(with_books(hand_made(), "good"))
    assert say("section.evidence.note") not in good


def test_every_failure_has_its_words_in_every_language() -> None:
    for language in LANGUAGES:
        known = catalogue(language)
        for name in DETECTORS:
            for part in ("name", "pass", "fail", "not_applicable"):
                assert f"check.failure.{name}.{part}" in known
