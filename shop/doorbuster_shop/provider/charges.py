"""The provider's books: charges and refunds. A charge's status is a function of the time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from doorbuster.provider import Provider, provider_answer

_TEST_MEANS = re.compile(r"^test-(\d{1,18})-(\d{1,9})$")


@dataclass(frozen=True, slots=True)
class Charge:
    """One demand for money. The answer is drawn when it arrives and known from decides_at_s on."""

    id: str
    idempotency_key: str
    channel: str
    means: str
    amount_cents: int
    reference: str
    decides_at_s: float
    approved: bool

    def status(self, now_s: float) -> str:
        """`processing`, then `captured` or `declined`."""
        if now_s < self.decides_at_s:
            return "processing"
        return "captured" if self.approved else "declined"


class Demand(NamedTuple):
    """What a shop asks for."""

    idempotency_key: str
    channel: str
    means: str
    amount_cents: int
    reference: str


class KeyReusedError(Exception):
    """An idempotency key came again with another demand."""


@dataclass(frozen=True)
class Totals:
    """The ledger in numbers. A capture that was refunded counts under both."""

    captured_count: int
    captured_cents: int
    declined_count: int
    processing_count: int
    refunded_count: int
    refunded_cents: int
    references_captured_twice: int


@dataclass
class Books:
    """All charges and refunds since the last reset."""

    provider: Provider
    channels: tuple[str, ...]
    charges: dict[str, Charge] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)
    _by_key: dict[str, Charge] = field(default_factory=dict)
    _attempts: Counter[str] = field(default_factory=Counter)

    def charge(self, demand: Demand, now_s: float) -> tuple[Charge, bool]:
        """The charge for a demand, and whether it is a new one.

        Raises: KeyReusedError; KeyError for an unknown channel.
        """
        known = self._by_key.get(demand.idempotency_key)
        if known is not None:
            if _demand_of(known) != demand:
                raise KeyReusedError(demand.idempotency_key)
            return known, False
        visitor, attempt = self._name_of_draw(demand.means)
        channel = self.channels.index(demand.channel)
        latency_s, approved = provider_answer(self.provider, visitor, channel, attempt)
        charge = Charge(
            id=f"ch_{len(self.charges) + 1:08d}",
            decides_at_s=now_s + float(latency_s),
            approved=bool(approved),
            **demand._asdict(),
        )
        self.enter(charge)
        return charge, True

    def _name_of_draw(self, means: str) -> tuple[int, int]:
        """Visitor and attempt: spelled out by test means, hashed and counted for all others."""
        match = _TEST_MEANS.match(means)
        if match is not None:
            return int(match[1]), int(match[2])
        digest = sha256(means.encode()).digest()
        return int.from_bytes(digest[:7], "big"), self._attempts[means]

    def enter(self, charge: Charge) -> None:
        """Write a charge into the books."""
        self.charges[charge.id] = charge
        self._by_key[charge.idempotency_key] = charge
        self._attempts[charge.means] += 1

    def by_key(self, idempotency_key: str) -> Charge | None:
        """The charge that was made under a key."""
        return self._by_key.get(idempotency_key)

    def refund(self, charge_id: str, now_s: float) -> bool:
        """Give the whole amount back; false when nothing was captured. Twice is once.

        Raises: KeyError for an unknown charge.
        """
        captured = self.charges[charge_id].status(now_s) == "captured"
        if captured:
            self.refunded.add(charge_id)
        return captured

    def captures(self, now_s: float) -> Iterator[Charge]:
        """Charges whose money the provider took and still has."""
        for charge in self.charges.values():
            if charge.id not in self.refunded and charge.status(now_s) == "captured":
                yield charge

    def totals(self, now_s: float) -> Totals:
        """The ledger in numbers."""
        statuses = Counter(charge.status(now_s) for charge in self.charges.values())
        kept = list(self.captures(now_s))
        refunded_cents = sum(self.charges[charge_id].amount_cents for charge_id in self.refunded)
        references = Counter(charge.reference for charge in kept)
        return Totals(
            captured_count=statuses["captured"],
            captured_cents=sum(charge.amount_cents for charge in kept) + refunded_cents,
            declined_count=statuses["declined"],
            processing_count=statuses["processing"],
            refunded_count=len(self.refunded),
            refunded_cents=refunded_cents,
            references_captured_twice=sum(count > 1 for count in references.values()),
        )


def _demand_of(charge: Charge) -> Demand:
    return Demand(
        charge.idempotency_key, charge.channel, charge.means, charge.amount_cents, charge.reference
    )


def charge_fields(charge: Charge) -> dict[str, Any]:
    """A charge as it stands in the journal."""
    return asdict(charge)
