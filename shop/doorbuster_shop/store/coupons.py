"""The coupon: how often it is redeemed, and who counts that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol

from doorbuster.rules.coupon import may_redeem

if TYPE_CHECKING:
    from doorbuster_shop.store.session import Session
    from doorbuster_shop.store.store import Store
    from doorbuster_shop.terms import CouponTerms

GAP_S = 0.002
"""What lies between looking and writing in a real shop, as in the strategy `check_then_write`."""

_SEEN = """
SELECT redeemed, (SELECT count(*) FROM reservations
                  WHERE account = ? AND discount_cents > 0
                    AND state IN ('locked', 'open', 'sold', 'refunding', 'refunded'))
FROM coupons
"""
_COUNT_UP = "UPDATE coupons SET redeemed = redeemed + 1 WHERE redeemed < limit_orders"
_WRITE = "UPDATE coupons SET redeemed = ?"
_GIVE_BACK = """
UPDATE coupons SET redeemed = CASE WHEN redeemed > ? THEN redeemed - ? ELSE 0 END
"""
_INSERT = "INSERT INTO coupons VALUES (1, ?, ?, ?, ?, 0)"
_TERMS = "SELECT limit_orders, off_cents, per_account, redeem FROM coupons"


class _Seen(NamedTuple):
    """The count of the coupon, and the orders of one account that carry it."""

    redeemed: int
    account_uses: int


class Redeem(Protocol):
    """Redeems the coupon for one order, in its transaction."""

    async def hold(self, session: Session, account: str) -> None:
        """Before anything is read or taken: keep out whoever must not come in between."""

    async def __call__(self, session: Session, account: str) -> int:
        """After the units are taken: what the order costs less, in cents; 0 without a coupon."""


class ConditionalUpdate:
    """`conditional_update`: one statement counts up if the limit allows.

    Nobody redeems for the same account meanwhile, whatever the item.
    """

    def __init__(self, terms: CouponTerms) -> None:
        self._terms = terms

    async def hold(self, session: Session, account: str) -> None:
        """The account, to the end of the transaction."""
        await session.hold(f"coupon for {account}")

    async def __call__(self, session: Session, account: str) -> int:
        """Judge the account, then count up."""
        seen = await _look(session, account)
        if not _is_left(self._terms, seen) or await session.run(_COUNT_UP) != 1:
            return 0
        return self._terms.off_cents


class CheckThenWrite:
    """`check_then_write`, broken on purpose: what was seen before is written, one higher.

    Two buyers who both read 19 of 20 both get the last coupon.
    """

    def __init__(self, terms: CouponTerms, seen: _Seen) -> None:
        self._terms, self._seen = terms, seen

    async def hold(self, session: Session, account: str) -> None:
        """Nobody."""

    async def __call__(self, session: Session, account: str) -> int:
        """Believe the look."""
        del account
        if not _is_left(self._terms, self._seen):
            return 0
        await session.run(_WRITE, (self._seen.redeemed + 1,))
        return self._terms.off_cents


async def redeem_of(store: Store, terms: CouponTerms, account: str) -> Redeem:
    """How a new order redeems the coupon; where it is counted by a look, this is the look."""
    if terms.redeem == "conditional_update":
        return ConditionalUpdate(terms)
    async with store.reading() as session:
        seen = await _look(session, account)
    await asyncio.sleep(GAP_S)
    return CheckThenWrite(terms, seen)


async def _look(session: Session, account: str) -> _Seen:
    row = await session.one(_SEEN, (account,))
    assert row is not None
    return _Seen._make(row)


def _is_left(terms: CouponTerms, seen: _Seen) -> bool:
    return may_redeem(seen.redeemed, terms.limit, seen.account_uses, terms.per_account)


async def give_back(session: Session, orders: int) -> None:
    """So many orders that carried the coupon have lapsed or were cancelled."""
    if orders:
        await session.run(_GIVE_BACK, (orders, orders))


async def begin(session: Session, terms: CouponTerms | None) -> None:
    """The coupon of a new sale; the old one is forgotten."""
    await session.run("DELETE FROM coupons")
    if terms is not None:
        values = (terms.limit, terms.off_cents, terms.per_account, terms.redeem)
        await session.run(_INSERT, values)


async def holds(session: Session, terms: CouponTerms | None) -> bool:
    """Whether the database holds this coupon, or none where there is none."""
    row = await session.one(_TERMS)
    if row is None or terms is None:
        return row is None and terms is None
    return tuple(row) == (terms.limit, terms.off_cents, terms.per_account, terms.redeem)
