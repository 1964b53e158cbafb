"""How much may wait in the shop at once."""

from __future__ import annotations

QUEUE_MAX = 2_048
"""Requests read and not yet answered, buyers who wait for the provider aside. The next one is
refused at once: a short queue answers, a long one only times out."""

WAITING_PAYMENTS_MAX = 10_000
"""Buyers that may wait for the provider at once; the next one is refused as overloaded."""

RETRY_AFTER_S = 1
"""What a refused buyer is told to wait."""
