"""The read-back after a sale: what the database and the provider say, as the judge reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from importlib.resources import files

from doorbuster.records.audit import Audit, ItemAudit
from doorbuster_shop.store.session import Session

Capture = tuple[str, int]
"""Reference of a charge, which is the id of its reservation, and its amount in cents."""

_ITEM_SQL = files(__package__).joinpath("audit.sql").read_text("utf-8")
_COLUMNS = tuple(ItemAudit.model_fields)
_PAID = "SELECT coalesce(sum(amount_cents), 0) FROM reservations WHERE state = 'sold'"
# A shop without a coupon has no row.
_COUPON = """
SELECT limit_orders, count(reservations.id),
       coalesce(sum(CASE reservations.state WHEN 'sold' THEN discount_cents ELSE 0 END), 0)
FROM coupons LEFT JOIN reservations
    ON discount_cents > 0 AND state IN ('locked', 'open', 'sold', 'refunding', 'refunded')
GROUP BY limit_orders
"""
_KEPT = "SELECT id, state FROM reservations WHERE state IN ('locked', 'sold', 'refunding')"


async def audit(
    session: Session,
    now_s: float,
    release_sweep_s: float,
    captures: Iterable[Capture] | None,
    *,
    grants_refunds: bool = False,
) -> Audit:
    """The whole account. Without the provider's captures, what only it can tell stays None.

    grants_refunds: whether refunds are told of, too.
    """
    lapsed_before_s = now_s - release_sweep_s
    rows = await session.all(_ITEM_SQL, (lapsed_before_s, lapsed_before_s))
    # A sum of PostgreSQL is a Decimal; the model makes whole numbers of it.
    items = [ItemAudit.model_validate(dict(zip(_COLUMNS, row, strict=True))) for row in rows]
    paid = await session.one(_PAID)
    assert paid is not None
    told = {"paid_cents": int(paid[0]), **await _coupon(session)}
    if captures is None:
        return Audit(items=items, **told)
    kept: dict[str, str] = dict(await session.all(_KEPT))
    captures = list(captures)
    if grants_refunds:
        owed = [cents for reference, cents in captures if kept.get(reference) == "refunding"]
        told |= {"refunds_open": len(owed), "refunds_open_cents": sum(owed)}
    return Audit(items=items, **told, **_money(captures, kept))


async def _coupon(session: Session) -> dict[str, int]:
    """What is told of the coupon, nothing where there is none."""
    row = await session.one(_COUPON)
    names = ("coupon_limit", "coupon_redemptions", "discount_cents")
    return {} if row is None else dict(zip(names, map(int, row), strict=True))


def _money(captures: list[Capture], kept: Container[str]) -> dict[str, int]:
    by_reference = Counter(reference for reference, _ in captures)
    return {
        "payments_captured": len(captures),
        "captured_cents": sum(cents for _, cents in captures),
        "orders_captured_twice": sum(count > 1 for count in by_reference.values()),
        "payments_without_order": sum(reference not in kept for reference, _ in captures),
    }
