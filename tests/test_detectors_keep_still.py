"""No detector fires on a correct shop, whatever the sale: on generated sales of every kind.

A stampede, a hot row or a long queue may well be there: what they say is true of a slow shop that
keeps its stock correctly, so they are not asked here.
"""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings
from tests.whole_scenarios import Whole, whole_scenarios

from doorbuster.detectors.failures import DETECTORS
from doorbuster.detectors.sale import SaleBooks
from doorbuster.measures.books import charges_of, orders_of
from doorbuster.measures.columns import requests_of, stock_of, visits_of
from doorbuster.measures.fault_times import FaultTime
from doorbuster.plan import fault_spans
from doorbuster.scenario.refunds import BROKEN_PAYOUTS
from doorbuster.scenario.shop import (
    BROKEN_LATE_PAYMENTS,
    BROKEN_REDEEMS,
    BROKEN_STRATEGIES,
    BROKEN_UNANSWERED_CHARGES,
    LATE_PAYMENTS,
    STRATEGIES,
    Shop,
)

EXAMPLES = int(os.environ.get("DOORBUSTER_EXAMPLES", "400"))
SLOW_SHOPS_MAY = {"release_stampede", "hot_row", "queue_after_sell_out"}
CORRECT = tuple(strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES)
PREDEDUCT_MAY = {"fragmentation"}
"""A wish that the database refuses has kept its units from the counter's other buyers meanwhile."""

LONG_S = 3600.0
"""A promise of less may be broken by a shop whose money takes longer: that is found, rightly."""


def is_broken(shop: Shop) -> bool:
    """Whether a failure is there on purpose."""
    return (
        shop.strategy in BROKEN_STRATEGIES
        or shop.late_payment in BROKEN_LATE_PAYMENTS
        or shop.unanswered_charge in BROKEN_UNANSWERED_CHARGES
        or (shop.coupon is not None and shop.coupon.redeem in BROKEN_REDEEMS)
        or (shop.refund is not None and shop.refund.payout in BROKEN_PAYOUTS)
    )


def books(whole: Whole) -> SaleBooks:
    """The sale as the detectors look at it, with every clock exact."""
    sale, scenario, timetable = whole.sale("compiled"), whole.scenario, whole.timetable
    return SaleBooks(
        scenario,
        orders_of(sale.orders, skus=scenario.skus),
        charges_of(sale.charges),
        visits_of(
            sale.visits,
            personas=scenario.persona_names,
            phases=[name for name, _, _ in timetable.phases],
            skus=scenario.skus,
        ),
        requests_of(sale.requests),
        stock_of(sale.stock, skus=scenario.skus),
        sale.audit,
        end_s=timetable.end_s,
        slack_s=0.0,
        faults=tuple(
            FaultTime(span.fault.kind, span.begun_s, span.ended_s)
            for span in fault_spans(scenario, timetable)
        ),
    )


def test_no_detector_fires_on_a_correct_shop() -> None:
    orders_seen = 0
    policies: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(whole=whole_scenarios(strategies=CORRECT))
    def keeps_still(whole: Whole) -> None:
        nonlocal orders_seen
        if is_broken(whole.scenario.shop):
            return
        sale = books(whole)
        orders_seen += len(sale.orders.order_id)
        may = PREDEDUCT_MAY if whole.scenario.shop.strategy == "prededuct" else set()
        policies[whole.scenario.shop.late_payment] += len(sale.orders.order_id) > 0
        refund = whole.scenario.shop.refund
        if refund is not None and refund.within_s < LONG_S:
            may = may | {"paid_and_lost"}
        for name in DETECTORS.keys() - SLOW_SHOPS_MAY - may:
            found = DETECTORS[name](sale)
            assert not found.count, (name, found, whole)

    keeps_still()
    assert orders_seen > EXAMPLES
    correct = [policy for policy in LATE_PAYMENTS if policy not in BROKEN_LATE_PAYMENTS]
    assert min(policies[policy] for policy in correct) > EXAMPLES / 60, policies
