"""The records that make up a sale in the compiled engine.

Records refer to each other by position; NOBODY is no position. Freed records form a list through
`next`. The arrays of records lie in memory whose addresses stand in WORLD and MODEL: compiled
functions then take one pointer instead of some twenty arrays, which made them 10 times slower.
`places` holds the functions that find a record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from doorbuster.scenario.shop import LockPoint
from doorbuster.vocabulary import Action

Record = Any
"""One record; its fields have the types of the dtype, which mypy cannot see."""
Records = NDArray[np.void]

NOBODY = -1


def _records(*, i8: str = "", i4: str = "", i1: str = "") -> np.dtype[np.void]:
    """A record type from field names by width, the widest first, so that nothing is padded."""
    widths = {"i8": i8, "i4": i4, "i1": i1}
    return np.dtype([(name, kind) for kind, names in widths.items() for name in names.split()])


PLANNED = _records(i8="arrival_ns account", i4="item quantity", i1="persona phase channel")
"""A visitor of the plan."""

VISIT = _records(
    i8="visitor arrival_ns account sent_ns deadline_ns reserved_ns paid_ns price_paid_cents "
    "own_coupons",
    i4="next persona phase item quantity "
    # the visitor's VisitState, without its outcome
    "action refresh_count restock_count failure_count refusal_count decline_count poll_count "
    "channel "
    "request_count failed_reply_count declined_reply_count waiting left "
    # what keeps the record: requests under way, charges under way, locks not yet swept
    "references reservation payment earlier_deadline later_deadline own_units",
)
"""A visitor who is there, or whom the shop still remembers. Everything of one visitor together."""

REQUEST = _records(
    i8="visitor service_ns way_back_ns seen coupon_seen begun_ns",
    i4="next visit number action channel logical_attempt reserving_attempt passage pool reply "
    "awaits_payment repeats place is_in_vain line",
)
"""A request on its way to the shop, in it, or on its way back. `next`: behind it in a queue.

seen: what its look tells the stock decision, or the units that it took from the counter.
coupon_seen: what it tells about the coupon. place: OUTSIDE, WAITS or IS_SERVED; begun_ns: since
when it is served; is_in_vain: for a rollback only. line: of a bundle, where each item has a pool.
"""
OUTSIDE, WAITS, IS_SERVED = 0, 1, 2
"""Where a request is, as seen from the stations."""

RESERVATION = _records(
    i8="lapses_ns expires_ns reserved_ns released_ns sold_ns discount_cents "
    "refund_asked_ns returned_ns paid_out_ns",
    i4="next visit item units attempt state payments_in_flight captures bucket is_copied",
)
"""Stock that a visit holds or held. `next`: the visit's other reservations.

paid_out_ns: when the money of a refund is back, perhaps after the end of the sale.
"""

PAYMENT = _records(
    i8="decided_ns asked_ns known_ns",
    i4="next visit attempt reply approved reservation first_waiting channel is_unheard "
    "payment open_charges is_told is_refunded",
)
"""A logical payment of a visit with its charge, or a second charge for the same payment.

Of the payment: `first_waiting`, requests that wait for its end; `open_charges`, those of which the
provider has not told the outcome. Of the charge: `payment`, what it was sent for, itself unless it
is a second one; `is_unheard`, the provider does not know it, `decided_ns` is then when it may be
asked again; `approved`, what the provider will say, 0 as well once the shop has had the charge
closed; `known_ns`, when the provider decides, which the shop may hear later, at `decided_ns`;
`is_told`, whether the shop has heard it.
"""

POOL = _records(
    i8="servers queue_limit present first_waiting last_waiting busy_ns max_queue refused"
)
"""The servers of a station, or of a station and an item, with their queue."""
ITEM = _records(
    i8="initial limit price_cents available locked sold orders max_own_units unpaid_locks "
    "sets_sold first_line line_count "
    "counter version is_flagged refunds unreturned"
)
ORDER_LINE = _records(i8="item units")
"""What one set of a bundle takes of one item. `line_count` of an item is 0 where it is none."""
EVENT = _records(i8="time_ns order", i4="payload next")
"""Something that will happen. `payload`: the visit, request or payment that it happens to."""
LANE = _records(i8="first count")
"""A ring of events that come in their order anyhow."""
PERSONA_LINE = _records(i8="timeout_ns first_deadline last_deadline")
"""The visits of one persona that wait for an answer, by deadline."""
ACCOUNT = _records(i8="key units")
"""An entry of the hash table of shared accounts."""

REQUEST_ROW = _records(i8="visitor sent_ns done_ns", i4="attempt", i1="step reply persona phase")
VISIT_ROW = _records(
    i8="visitor started_ns reserved_ns paid_ns left_ns price_paid_cents",
    i4="request_count failure_count decline_count item quantity",
    i1="outcome persona phase",
)
STOCK_ROW = _records(i8="at_ns available locked sold", i4="item")
ORDER_ROW = _records(
    i8="visitor account reserved_ns expires_ns released_ns sold_ns discount_cents "
    "refund_asked_ns returned_ns",
    i4="attempt item quantity state",
)
CHARGE_ROW = _records(
    i8="visitor asked_ns decided_ns captured_ns refunded_ns discount_cents",
    i4="attempt order_attempt channel item quantity state",
)

ARRAYS = {
    "visits": VISIT,
    "attempts": np.dtype(np.int32),
    "requests": REQUEST,
    "reservations": RESERVATION,
    "payments": PAYMENT,
    "pools": POOL,
    "items": ITEM,
    "order_lines": ORDER_LINE,
    "buckets": np.dtype(np.int64),
    "events": EVENT,
    "near": EVENT,
    "fine": np.dtype(np.int32),
    "coarse": np.dtype(np.int32),
    "lanes": LANE,
    "lane_events": EVENT,
    "lines": PERSONA_LINE,
    "locks": np.dtype(np.int32),
    "held_locks": np.dtype(np.int32),
    "accounts": ACCOUNT,
    "planned": PLANNED,
    "request_rows": REQUEST_ROW,
    "visit_rows": VISIT_ROW,
    "stock_rows": STOCK_ROW,
    "order_rows": ORDER_ROW,
    "charge_rows": CHARGE_ROW,
}
"""Every array of the changing world with the kind of its entries.

attempts: one row a visit, one column an action. buckets: one row an item, one column a bucket.
fine, coarse: first event of each bucket and each stretch of buckets. lane_events: one ring a lane,
each as long as `requests`. locks: reservations, the one that lapses first in front; see `locks`.
held_locks: reservations past their time that a payment holds; under `stale_expiry` all that the
next sweep may find past their time.
"""

WORLD = _records(
    i8=" ".join(f"{name} {name}_room" for name in ARRAYS)
    + " start_ns end_ns stop_ns now_ns deadline_bound_ns next_sweep_ns next_reading_ns "
    # records: ever used, first freed, in use
    "visits_used visits_free visits_live requests_used requests_free requests_live "
    "reservations_used reservations_free reservations_live "
    "payments_used payments_free payments_live events_used events_free "
    # the calendar
    "bucket_bits bucket near_count fine_count later_count "
    # arrivals, locks, accounts, output
    "first_visitor next_arrival first_lock lock_count held_lock_count account_count "
    "request_row_count visit_row_count stock_row_count order_row_count charge_row_count "
    # the provider's ledger, and what the run has done
    "captured_count captured_cents captured_twice_count captured_late_count event_count "
    # the coupon: as the shop counts it, and orders that carry it with what it takes off paid ones
    "coupons_redeemed coupons_held discount_cents "
    # refunds that were granted and whose money is not back
    "refunds_open refunds_open_cents "
    "is_broken is_guarded are_locks_extended closes_charges is_dead swept_ns",
)
"""The whole changing world in one record: addresses and lengths of its arrays, clock, counts.

stop_ns: the end of the sale, or before it the next moment at which a fault strikes or is over.
swept_ns: the last sweep.
"""

STEP = _records(i8="first_passage passage_count look_passage")
"""look_passage: before which passage a request looks at the stock; NOBODY where it does not."""
PASSAGE = _records(i8="first_pool per_item time_row station")
"""A stay at a station. `per_item`: 1 where each item has a pool of its own, else 0."""

MODEL = _records(
    i8="steps passages time_rows time_knots personas behaviour_rows behaviour_knots "
    "channels provider_rows provider_knots "
    "seed system_seed channel_count network_row is_network_constant lock_ns sweep_ns strategy "
    "rollback_ns "
    "payment_timeout_ns late_payment jitter_ns charges_again "
    "looks_before locking_step coupon coupon_limit coupon_off_cents coupons_per_account "
    "refund refund_returns refund_row "
    # faults: addresses of stretches
    "frozen still restarts gone deaf unheard apart slow bends_time"
)
"""What does not change during a sale: addresses of its tables, and settings.

bends_time: whether any freeze or slowness can move the end of a service or of an answer.
locking_step: the Action that takes units from the shelf; looks_before: whether the strategy looks
before its last station. coupon: how it is redeemed, or NO_COUPON. refund: how refunds are paid out,
or NO_REFUND; refund_row: their delay.
"""
LOCKING_STEPS: dict[LockPoint, int] = {
    "order": int(Action.RESERVE),
    "payment": int(Action.PAY),
    "cart": int(Action.CART),
}
STRETCHES = ("frozen", "still", "restarts", "gone", "deaf", "unheard", "apart", "slow")
"""Of MODEL and of `faults.Faults`."""
