"""What the payment provider does with an attempt: one function for simulation and emulator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from doorbuster.compiling import compilable
from doorbuster.draws.philox import draw
from doorbuster.draws.purposes import Purpose
from doorbuster.draws.quantiles import DistributionTables, sample_named
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.payments import Payments

CHANNEL_DTYPE = np.dtype(
    [("decline_fraction", "f8"), ("late_fraction", "f8"), ("latency", "i8"), ("late_by", "i8")]
)


class Provider(NamedTuple):
    """All payment channels as arrays, with the seed of their draws."""

    seed: int
    channels: NDArray[np.void]
    distributions: DistributionTables


CHARGED_AGAIN = 1 << 19
"""Added to the number of a payment it names a second charge for the same payment. No visitor comes
to so many payments, and no draw and no event of the two is the same."""

_LATENCY, _DECLINE = int(Purpose.PROVIDER_LATENCY), int(Purpose.PROVIDER_DECLINE)
_LATE, _LATE_BY = int(Purpose.PROVIDER_LATE), int(Purpose.PROVIDER_LATE_BY)


def provider_of(payments: Payments, seed: int) -> Provider:
    """The channels of a scenario, in the order of the file."""
    book = DistributionBook()
    rows = [
        (c.decline_fraction, c.late_fraction, book.add(c.latency), book.add(c.late_by))
        for c in payments.channels
    ]
    return Provider(seed, np.array(rows, dtype=CHANNEL_DTYPE), book.tables())


@compilable
def provider_answer(
    provider: Provider, visitor: int, channel: int, attempt: int
) -> tuple[float, bool]:
    """Time of the provider's answer in seconds after the call, and whether it approves.

    Range: channel in [0, channels), attempt >= 0 counts the logical payments of the visitor, for a
    second charge plus CHARGED_AGAIN. The same attempt gets the same answer in both worlds.
    """
    traits = provider.channels[channel]
    tables, seed = provider.distributions, provider.seed
    answer_s = sample_named(tables, traits["latency"], seed, visitor, _LATENCY, attempt)
    if draw(provider.seed, visitor, _LATE, attempt) < traits["late_fraction"]:
        answer_s += sample_named(tables, traits["late_by"], seed, visitor, _LATE_BY, attempt)
    approved = draw(provider.seed, visitor, _DECLINE, attempt) >= traits["decline_fraction"]
    return answer_s, approved
