"""What becomes of a payment that is in flight when its lock lapses, for both engines."""

from __future__ import annotations

from doorbuster.scenario.shop import LATE_PAYMENTS

HOLD, REFUND, RECHECK_STOCK, QUERY_BEFORE_CANCEL = range(len(LATE_PAYMENTS))
"""The values of `shop.late_payment` as compiled code knows them, in the order of LATE_PAYMENTS."""
