"""What a draw is for. The numbers are part of the results: never reuse or renumber one."""

from __future__ import annotations

from enum import IntEnum


class Purpose(IntEnum):
    """The third name of a draw; each purpose is an independent stream."""

    # The plan: drawn once per visitor, attempt 0 (ARRIVAL_COUNT: per cell instead of visitor).
    ARRIVAL_COUNT = 1
    ARRIVAL_PLACE = 2
    PERSONA = 3
    ITEM = 4
    ACCOUNT = 5
    DEVICE = 6
    IP = 7
    ADDRESS = 8
    CARD = 9
    CHANNEL = 10
    # The visitor: what it decides on the way.
    PATIENCE = 20
    BUY_INTENT = 21
    THINK = 22
    REFRESH_GAP = 23
    RETRY_WAIT = 24
    PAY_INTENT = 25
    PAY_TIME = 26
    PAY_RETRY = 27
    PAY_OTHER_CHANNEL = 28
    POLL_GAP = 29
    CANCEL_INTENT = 30
    COUPON = 31
    REFUND_INTENT = 32
    REFUND_TIME = 33
    CART_INTENT = 34
    CART_TIME = 35
    # The payment provider: what happens to attempt k of this visitor's payment.
    PROVIDER_LATENCY = 40
    PROVIDER_DECLINE = 41
    PROVIDER_LATE = 42
    PROVIDER_LATE_BY = 43
    # The live provider alone: attempts without answer, and notifications (the attempt there is 4 x
    # that of the payment + the event).
    PROVIDER_TIMEOUT = 44
    PROVIDER_TIMEOUT_CAPTURED = 45
    WEBHOOK_DUPLICATE = 46
    WEBHOOK_LATE = 47
    WEBHOOK_LATE_BY = 48
    WEBHOOK_REORDER = 49
    # The simulated system.
    NETWORK = 60
    SERVICE = 61
    RELEASE_JITTER = 62
    REFUND_DELAY = 63
    LINE_SERVICE = 64
