"""What must hold in every sale at any load: nothing oversold, nobody charged wrongly.

The judge is the target's own account (audit.json), read back after the run, one a replication;
the records of the visitors are the second witness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.sales import sold_stock_units
from doorbuster.records.audit import Audit, ItemAudit
from doorbuster.report.numbers import count
from doorbuster.verdict.checks import Check, Status, Unit
from doorbuster.vocabulary import Outcome

OFFENDERS_NAMED_MAX = 5

TOLD_BY_VISITORS = ("invariant.orders_told", "invariant.price")
"""Rows that rest on the records of the visitors, so that a void measurement voids them, too."""

_TOLD_OUTCOMES = [int(Outcome.SOLD), int(Outcome.REFUNDED)]
_UNSURE_OUTCOMES = [
    int(o) for o in (Outcome.CUT_OFF, Outcome.GAVE_UP, Outcome.FAILED, Outcome.NOT_RUN)
]


def invariant_checks(records: RunRecords) -> list[Check]:
    """All rows, in the order in which they are read."""
    item = _ItemRows(records)
    return [
        item.row(
            "oversell",
            lambda i: max(i.sold_units + i.locked_units - i.initial_units, -i.available_units, 0),
        ),
        item.row("conservation", _imbalance),
        item.row("purchase_limit", _above_limit(records)),
        item.row("lapsed_locks", lambda i: i.lapsed_locks),
        _stock_readings(records),
        _orders_told(records),
        _money(records, "captured_is_paid", "cents", _captured_not_paid),
        _money(records, "double_capture", "count", lambda a: a.orders_captured_twice),
        _money(records, "orphan_payment", "count", lambda a: a.payments_without_order),
        _money(records, "audited_price", "cents", lambda a: _off_list_cents(records, a)),
        _price_told(records),
        *_coupon(records),
    ]


def _imbalance(item: ItemAudit) -> int:
    return abs(item.available_units + item.locked_units + item.sold_units - item.initial_units)


def _above_limit(records: RunRecords) -> Callable[[ItemAudit], int]:
    limits = {item.sku: item.per_account_limit for item in records.scenario.shop.items}
    return lambda item: max(item.max_units_per_account - limits.get(item.sku, 0), 0)


class _ItemRows:
    """Rows that ask one number of every item of every replication; each should be 0."""

    def __init__(self, records: RunRecords) -> None:
        self._records = records

    def row(self, name: str, excess: Callable[[ItemAudit], int]) -> Check:
        if not self._records.audits:
            return _no_audit(self._records, name)
        worst = 0
        offenders = []
        for replication, item in self._items():
            found = excess(item)
            if found:
                place = f" #{replication}" if len(self._records.audits) > 1 else ""
                offenders.append(f"{item.sku}{place}: {count(found)}")
            worst = max(worst, found)
        facts = {
            "offenders": _some(offenders),
            "worst": count(worst),
            "items": count(len(self._records.scenario.skus)),
            "replications": count(len(self._records.audits)),
        }
        return _row(name, "fail" if worst else "pass", facts, value=worst, limit=0)

    def _items(self) -> Iterator[tuple[int, ItemAudit]]:
        for replication, audit in enumerate(self._records.audits):
            for item in audit.items:
                yield replication, item


def _stock_readings(records: RunRecords) -> Check:
    """No reading during the sale shows a negative level or more sold than there ever was."""
    stock = records.stock
    if not len(stock.at_s):
        return _row("stock_readings", "not_applicable", {}, variant="not_applicable")
    initial = np.array(records.stock_units)[stock.sku]
    bad = (stock.available < 0) | (stock.locked < 0) | (stock.sold < 0) | (stock.sold > initial)
    names = [records.scenario.skus[code] for code in np.unique(stock.sku[bad])]
    facts = {
        "readings": count(len(bad)),
        "bad": count(int(bad.sum())),
        "offenders": _some(names),
        "first": f"{stock.at_s[bad].min():.3f}" if bad.any() else "",
    }
    status: Status = "fail" if bad.any() else "pass"
    return _row("stock_readings", status, facts, value=int(bad.sum()), limit=0)


def _orders_told(records: RunRecords) -> Check:
    """The target's paid orders, refunded ones too, are those that visitors were told.

    Visitors who held a reservation and left without an answer may have an order that they do not
    know of: so many orders more are explained. An order that a visitor was told of and that the
    target does not have is never explained.
    """
    if not records.audits:
        return _told_within_stock(records)
    told_total = orders_total = unsure_total = 0
    offenders = []
    for replication, audit in enumerate(records.audits):
        told_by_item, unsure_by_item = _told(records, replication)
        for code, sku in enumerate(records.scenario.skus):
            told, unsure = told_by_item[code], unsure_by_item[code]
            mine = [item for item in audit.items if item.sku == sku]
            orders = sum(item.orders_paid + item.orders_refunded for item in mine)
            told_total, orders_total = told_total + told, orders_total + orders
            unsure_total += unsure
            if not told <= orders <= told + unsure:
                offenders.append(f"{sku}: {count(orders)} / {count(told)}")
    difference = orders_total - told_total
    facts = {
        "orders": count(orders_total),
        "told": count(told_total),
        "difference": f"{difference:+,}",
        "unsure": count(unsure_total),
        "offenders": _some(offenders),
    }
    status: Status = "fail" if offenders else "pass"
    variant = status if offenders or not difference else "explained"
    return _row(
        "orders_told", status, facts, variant=variant, value=difference, limit=0, alone=False
    )


def _told(records: RunRecords, replication: int) -> tuple[list[int], list[int]]:
    """By item: visitors told of a paid order, and those who left a reservation unanswered."""
    if records.tallies:
        tally = records.tallies[replication]
        return tally.told.tolist(), tally.unsure.tolist()
    visits, item_count = records.visits_in(replication), len(records.scenario.skus)
    told = np.isin(visits.outcome, _TOLD_OUTCOMES)
    unsure = np.isin(visits.outcome, _UNSURE_OUTCOMES) & ~np.isnan(visits.reserved_s)
    counts = [np.bincount(visits.sku[mask], minlength=item_count) for mask in (told, unsure)]
    return counts[0].tolist(), counts[1].tolist()


def _told_within_stock(records: RunRecords) -> Check:
    """Without the target's account: visitors were not sold more than there was."""
    offenders = []
    for replication in records.replications:
        units = sold_stock_units(records.visits_in(replication), records.lines)
        for sku, told, stock in zip(records.scenario.skus, units, records.stock_units, strict=True):
            if told > stock:
                offenders.append(f"{sku}: {count(told)} / {count(stock)}")
    facts = {"offenders": _some(offenders)}
    if offenders:
        return _row("orders_told", "fail", facts, variant="told_above_stock", alone=False)
    return _no_audit(records, "orders_told")


def _captured_not_paid(audit: Audit) -> int | None:
    if audit.captured_cents is None or audit.paid_cents is None:
        return None
    return abs(audit.captured_cents - audit.paid_cents - (audit.refunds_open_cents or 0))


def _off_list_cents(records: RunRecords, audit: Audit) -> int | None:
    if audit.paid_cents is None:
        return None
    found = {item.sku: item for item in audit.items}
    audited = [found.get(sku) for sku in records.scenario.skus]
    taken = [0 if i is None else i.sold_units - i.unreturned_units for i in audited]
    sets = [0 if i is None else i.sets_sold for i in audited]
    for item, told in zip(records.scenario.shop.items, audited, strict=True):
        if item.bundle is not None and (told is None or (told.orders_paid and not told.sets_sold)):
            return None  # The target does not tell how many units were sold in sets.
    ordered = records.lines.ordered(np.array(taken, np.int64), np.array(sets, np.int64))
    prices = [item.price_cents for item in records.scenario.shop.items]
    listed: int = sum(u * price for u, price in zip(ordered.tolist(), prices, strict=True))
    return abs(audit.paid_cents + (audit.discount_cents or 0) - listed)


def _coupon(records: RunRecords) -> list[Check]:
    """No more orders carry the coupon than may; no row where there is none."""
    if records.scenario.shop.coupon is None:
        return []
    limit = records.scenario.shop.coupon.limit

    def excess(audit: Audit) -> int | None:
        redeemed = audit.coupon_redemptions
        return None if redeemed is None else max(redeemed - limit, 0)

    return [_money(records, "coupon_limit", "count", excess)]


def _money(
    records: RunRecords, name: str, unit: Unit, excess: Callable[[Audit], int | None]
) -> Check:
    """A row that asks one number of every replication's account; each should be 0."""
    if not records.audits:
        return _no_audit(records, name)
    found = [excess(audit) for audit in records.audits]
    known = [number for number in found if number is not None]
    if len(known) < len(found):
        return _row(name, "not_applicable", {}, variant="not_told", unit=unit)
    worst = max(known)
    captured = sum(audit.captured_cents or 0 for audit in records.audits)
    facts = {
        "worst": count(worst / 100 if unit == "cents" else worst),
        "currency": records.scenario.shop.currency,
        "captured": f"{captured / 100:,.2f}",
        "payments": count(sum(audit.payments_captured or 0 for audit in records.audits)),
    }
    return _row(name, "fail" if worst else "pass", facts, value=worst, limit=0, unit=unit)


def _price_told(records: RunRecords) -> Check:
    """Every visitor who bought was told list price times quantity, or that less the coupon."""
    visits, skus = records.visits, records.scenario.skus
    sold = np.isin(visits.outcome, _TOLD_OUTCOMES)
    prices = np.array([item.price_cents for item in records.scenario.shop.items])
    coupon = records.scenario.shop.coupon
    less_cents = prices[visits.sku] * visits.quantity - visits.price_paid_cents
    off = sold & (less_cents != 0)
    if coupon is not None:
        off &= less_cents != coupon.off_cents
    wrong = np.bincount(visits.sku[off], minlength=len(skus))
    wrong += sum(tally.wrong_price for tally in records.tallies)
    sold_count = int(sold.sum()) + sum(int(tally.told.sum()) for tally in records.tallies)
    if not sold_count:
        return _row("price", "not_applicable", {}, variant="not_applicable", alone=False)
    names = [sku for sku, number in zip(skus, wrong.tolist(), strict=True) if number]
    total = int(wrong.sum())
    facts = {"wrong": count(total), "sold": count(sold_count), "offenders": _some(names)}
    status: Status = "fail" if total else "pass"
    return _row("price", status, facts, value=total, limit=0, alone=False)


def _no_audit(records: RunRecords, name: str) -> Check:
    """No account: inconclusive, unless the target is known to have none to give."""
    if records.run.get("audit_supported") is False:
        return _row(name, "not_applicable", {}, variant="unsupported")
    if records.run.get("status") == "failed":
        return _row(name, "inconclusive", {}, variant="no_answer")
    return _row(name, "inconclusive", {}, variant="no_audit")


def _some(offenders: list[str]) -> str:
    shown = ", ".join(offenders[:OFFENDERS_NAMED_MAX])
    more = len(offenders) - OFFENDERS_NAMED_MAX
    return f"{shown} (+{more})" if more > 0 else shown


_SHARED_VARIANTS = ("no_audit", "no_answer", "unsupported", "not_told")


def _row(
    name: str,
    status: Status,
    facts: dict[str, Any],
    *,
    variant: str | None = None,
    value: float | None = None,
    limit: float | None = None,
    unit: Unit = "count",
    alone: bool = True,
) -> Check:
    variant = variant or status
    scope = "invariant" if variant in _SHARED_VARIANTS else f"invariant.{name}"
    return Check(
        f"invariant.{name}",
        "invariant",
        status,
        f"check.{scope}.{variant}",
        facts,
        value,
        limit,
        "equal",
        unit,
        proves_alone=alone,
    )
