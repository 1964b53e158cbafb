"""What the shop takes from a scenario: items, lock time, payment channels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The shop's process starts 0.8 s sooner without the scenario's models.
    from doorbuster.scenario import Scenario
    from doorbuster.scenario.refunds import Refund

DELAY_COUNT = 1_000
"""Values that stand for the distribution of a refund's delay."""


@dataclass(frozen=True)
class ItemTerms:
    """One item as it stands in the scenario."""

    sku: str
    price_cents: int
    per_account_limit: int
    initial_units: int
    lines: tuple[tuple[str, int], ...] = ()
    """Of a bundle, which has no units: sku and units of what one set takes, in key order."""
    warehouses: tuple[tuple[str, int], ...] = ()
    """Where its units lie, if anybody asks: the preferred warehouse first."""


@dataclass(frozen=True)
class CouponTerms:
    """The coupon as it stands in the scenario."""

    limit: int
    off_cents: int
    per_account: int
    redeem: str


@dataclass(frozen=True)
class RefundTerms:
    """How the scenario gives money back."""

    delays_s: tuple[float, ...]
    """From the yes until the provider is told: equally likely values, from the shortest on."""
    returns_stock: bool = True
    is_marked_only: bool = False

    def delay_s(self, idempotency_key: str) -> float:
        """That of the order under this key, by a hash of it: a restarted shop finds the same."""
        digest = sha256(f"refund {idempotency_key}".encode()).digest()
        return self.delays_s[int.from_bytes(digest[:6], "big") * len(self.delays_s) >> 48]


@dataclass(frozen=True)
class Terms:
    """The terms of one sale. Times in seconds."""

    items: tuple[ItemTerms, ...]
    lock_time_s: float
    release_sweep_s: float
    payment_timeout_s: float
    channels: tuple[str, ...]
    currency: str
    strategy: str = "conditional_update"
    lock_point: str = "order"
    late_payment: str = "hold"
    release_jitter_s: float = 0.0
    unanswered_charge: str = "wait"
    failover: tuple[tuple[str, str], ...] = ()
    """Channel and the one that takes its payments while it is out."""
    coupon: CouponTerms | None = None
    refund: RefundTerms | None = None


def lock_time_s(terms: Terms, idempotency_key: str) -> float:
    """How long a reservation under this key keeps its units: the jitter's share is a hash of it."""
    if not terms.release_jitter_s:
        return terms.lock_time_s
    digest = sha256(idempotency_key.encode()).digest()
    share = int.from_bytes(digest[:6], "big") / 2**48
    return terms.lock_time_s + share * terms.release_jitter_s


def terms_of(scenario: Scenario) -> Terms:
    """The terms that a scenario sets for the shop."""
    shop = scenario.shop
    return Terms(
        items=tuple(
            ItemTerms(
                item.sku,
                item.price_cents,
                item.per_account_limit,
                item.stock,
                tuple(sorted((item.bundle or {}).items())),
                tuple((item.warehouses or {}).items()),
            )
            for item in shop.items
        ),
        lock_time_s=shop.lock_time,
        release_sweep_s=shop.release_sweep,
        payment_timeout_s=scenario.payments.timeout,
        channels=tuple(scenario.channel_names),
        currency=shop.currency,
        strategy=shop.strategy,
        lock_point=shop.lock_point,
        late_payment=shop.late_payment,
        release_jitter_s=shop.release_jitter,
        unanswered_charge=shop.unanswered_charge,
        failover=tuple(
            (channel.name, channel.failover_to)
            for channel in scenario.payments.channels
            if channel.failover_to is not None
        ),
        coupon=None
        if shop.coupon is None
        else CouponTerms(
            shop.coupon.limit, shop.coupon.off_cents, shop.coupon.per_account, shop.coupon.redeem
        ),
        refund=None if shop.refund is None else _refund_terms(shop.refund),
    )


def _refund_terms(refund: Refund) -> RefundTerms:
    # These load the scenario's models, which the shop's own process does without.
    from doorbuster.draws import sample  # noqa: PLC0415
    from doorbuster.scenario.distributions import DistributionBook  # noqa: PLC0415
    from doorbuster.scenario.refunds import BROKEN_PAYOUTS  # noqa: PLC0415

    book = DistributionBook()
    row = book.add(refund.delay)
    tables, share = book.tables(), 1 / DELAY_COUNT
    delays_s = (sample(tables, row, (n + 0.5) * share) for n in range(DELAY_COUNT))
    return RefundTerms(
        tuple(float(delay_s) for delay_s in delays_s),
        refund.returns_stock,
        refund.payout in BROKEN_PAYOUTS,
    )


_PAIRS = ("lines", "warehouses")


def terms_to_json(terms: Terms) -> dict[str, Any]:
    """The terms as they travel to the shop's process."""
    return asdict(terms)


def terms_from_json(content: dict[str, Any]) -> Terms:
    """What `terms_to_json` wrote."""
    items = tuple(
        ItemTerms(**{**item, **{name: tuple(map(tuple, item[name])) for name in _PAIRS}})
        for item in content["items"]
    )
    coupon = content.get("coupon")
    refund = content.get("refund")
    changed = {
        "items": items,
        "channels": tuple(content["channels"]),
        "coupon": None if coupon is None else CouponTerms(**coupon),
        "refund": None if refund is None else _refund_from_json(refund),
    }
    return Terms(**{**content, **changed})


def _refund_from_json(content: dict[str, Any]) -> RefundTerms:
    return RefundTerms(**{**content, "delays_s": tuple(content["delays_s"])})
