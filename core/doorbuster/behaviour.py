"""Turns a scenario into the arrays that `next_step` and the worlds read."""

from __future__ import annotations

import numpy as np

from doorbuster.scenario.crowd import Persona
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.model import Scenario
from doorbuster.visitor import NO_CART, PERSONA_DTYPE, Behaviour

_TIMES = (
    *("think_time", "refresh_gap", "retry_wait", "patience", "payment_time", "poll_gap"),
    *("refund_after", "cart_time"),
)


def behaviour_of(scenario: Scenario, seed: int) -> Behaviour:
    """The personas of a scenario, in the order of the file, with the seed of their draws."""
    book = DistributionBook()
    personas = np.zeros(len(scenario.crowd.personas), dtype=PERSONA_DTYPE)
    for index, persona in enumerate(scenario.crowd.personas.values()):
        personas[index] = _row(persona, book, has_cart=scenario.shop.lock_point == "cart")
    return Behaviour(seed, personas, book.tables(), len(scenario.payments.channels))


def _row(persona: Persona, book: DistributionBook, *, has_cart: bool) -> tuple[float, ...]:
    def column(field: str) -> float:
        if field == "cart_time" and not has_cart:
            return NO_CART
        if field == "request_timeout_s":
            return persona.request_timeout
        value = getattr(persona, field)
        return float(book.add(value) if field in _TIMES else value)

    return tuple(column(field) for field in PERSONA_DTYPE.names or ())
