"""The provider's books: every charge since the last reset, and what became of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any, NamedTuple

from doorbuster.provider import CHARGED_AGAIN
from doorbuster_shop.provider.decisions import Attempt, Decision

_TEST_MEANS = re.compile(r"^test-(\d{1,18})-(\d{1,9})$")


@dataclass(frozen=True, slots=True)
class Charge:
    """One demand for money. It is decided when it arrives; the world learns it at decides_at_s."""

    id: str
    idempotency_key: str
    channel: str
    means: str
    amount_cents: int
    reference: str
    visitor: int
    attempt: int
    asked_at_s: float
    decides_at_s: float
    approved: bool
    decline_kind: str
    is_answered: bool
    closed_at_s: float | None = None
    refunded_at_s: float | None = None

    def status(self, now_s: float) -> str:
        """`processing`, then `captured` or `declined`; also `closed` and `refunded`."""
        if self.refunded_at_s is not None:
            return "refunded"
        if self.closed_at_s is not None:
            return "closed"
        if now_s < self.decides_at_s:
            return "processing"
        return "captured" if self.approved else "declined"

    @property
    def captured_at_s(self) -> float | None:
        """When the money is taken; None if it never is."""
        is_taken = self.approved and self.closed_at_s is None
        return self.decides_at_s if is_taken else None


class Demand(NamedTuple):
    """What a shop asks for."""

    idempotency_key: str
    channel: str
    means: str
    amount_cents: int
    reference: str


class KeyReusedError(Exception):
    """An idempotency key came again with another demand."""


class CapturedError(Exception):
    """A charge cannot be closed: its money was taken."""


@dataclass(frozen=True)
class Totals:
    """The ledger in numbers. A capture that was refunded counts under both."""

    captured_count: int
    captured_cents: int
    declined_count: int
    closed_count: int
    processing_count: int
    refunded_count: int
    refunded_cents: int
    references_captured_twice: int


@dataclass
class Books:
    """All charges since the last reset, and the keys under which none may be made any more."""

    charges: dict[str, Charge] = field(default_factory=dict)
    closed_keys: set[str] = field(default_factory=set)
    _by_key: dict[str, str] = field(default_factory=dict)
    _attempts: Counter[str] = field(default_factory=Counter)

    def known(self, demand: Demand) -> Charge | None:
        """The charge that was made for this demand before. Raises: KeyReusedError."""
        charge = self.by_key(demand.idempotency_key)
        if charge is not None and _demand_of(charge) != demand:
            raise KeyReusedError(demand.idempotency_key)
        return charge

    def by_key(self, idempotency_key: str) -> Charge | None:
        """The charge that was made under a key."""
        charge_id = self._by_key.get(idempotency_key)
        return None if charge_id is None else self.charges[charge_id]

    def attempt(self, means: str) -> Attempt:
        """The name of the draws: spelled out by test means, hashed and counted for all others.

        Test means that were charged before name the draws of a second charge for the same payment.
        """
        match = _TEST_MEANS.match(means)
        if match is not None:
            again = CHARGED_AGAIN if self._attempts[means] else 0
            return Attempt(int(match[1]), int(match[2]) + again)
        digest = sha256(means.encode()).digest()
        return Attempt(int.from_bytes(digest[:7], "big"), self._attempts[means])

    def new(self, demand: Demand, attempt: Attempt, decision: Decision, now_s: float) -> Charge:
        """A charge under the next number; it is in the books once it was entered."""
        return Charge(
            id=f"ch_{len(self.charges) + 1:08d}",
            visitor=attempt.visitor,
            attempt=attempt.number,
            asked_at_s=now_s,
            decides_at_s=now_s + decision.latency_s,
            approved=decision.approved,
            decline_kind=decision.decline_kind,
            is_answered=decision.is_answered,
            **demand._asdict(),
        )

    def enter(self, charge: Charge) -> None:
        """Write a charge into the books, new or changed."""
        if charge.id not in self.charges:
            self._by_key[charge.idempotency_key] = charge.id
            self._attempts[charge.means] += 1
        self.charges[charge.id] = charge

    def captures(self, now_s: float) -> Iterator[Charge]:
        """Charges whose money the provider took and still has."""
        return (c for c in self.charges.values() if c.status(now_s) == "captured")

    def totals(self, now_s: float) -> Totals:
        """The ledger in numbers."""
        charges = self.charges.values()
        statuses = Counter(charge.status(now_s) for charge in charges)
        cents: Counter[str] = Counter()
        for charge in charges:
            cents[charge.status(now_s)] += charge.amount_cents
        references = Counter(charge.reference for charge in self.captures(now_s))
        return Totals(
            captured_count=statuses["captured"] + statuses["refunded"],
            captured_cents=cents["captured"] + cents["refunded"],
            declined_count=statuses["declined"],
            closed_count=statuses["closed"],
            processing_count=statuses["processing"],
            refunded_count=statuses["refunded"],
            refunded_cents=cents["refunded"],
            references_captured_twice=sum(count > 1 for count in references.values()),
        )


def refunded(charge: Charge, now_s: float) -> Charge | None:
    """The charge with its money given back; None when nothing was captured. Twice is once."""
    match charge.status(now_s):
        case "refunded":
            return charge
        case "captured":
            return replace(charge, refunded_at_s=now_s)
        case _:
            return None


def closed(charge: Charge, now_s: float) -> Charge:
    """The charge as one that will never take money; a declined one is that already.

    Raises: CapturedError when the money was taken, refunded since or not.
    """
    match charge.status(now_s):
        case "processing":
            return replace(charge, closed_at_s=now_s)
        case "captured" | "refunded":
            raise CapturedError(charge.id)
        case _:
            return charge


def _demand_of(charge: Charge) -> Demand:
    return Demand(
        charge.idempotency_key, charge.channel, charge.means, charge.amount_cents, charge.reference
    )


def charge_fields(charge: Charge) -> dict[str, Any]:
    """A charge as it stands in the journal."""
    return asdict(charge)
