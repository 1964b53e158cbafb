"""What is for sale: items, stock, limits, the lock that a reservation puts on stock."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from doorbuster.scenario.base import Name, Part, Words
from doorbuster.scenario.durations import Duration, PositiveDuration
from doorbuster.scenario.refunds import Refund


def _decimal(value: object) -> object:
    """The decimal number as it was written: 499.00 has no binary rounding."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number else value


Price = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(ge=0, max_digits=12, decimal_places=2),
    WithJsonSchema({"type": "number", "minimum": 0}),
    Words("amount of money", "0 or more, two decimals"),
]


MAX_LINES = 16
"""Components of a bundle at most. Names the draws of service times: part of the results."""
Bundle = Annotated[
    dict[Name, Annotated[int, Field(ge=1, le=1_000)]], Field(min_length=1, max_length=MAX_LINES)
]

MAX_STOCK = 1_000_000_000
MAX_WAREHOUSES = 16
Warehouses = Annotated[
    dict[Name, Annotated[int, Field(ge=0, le=MAX_STOCK)]],
    Field(min_length=1, max_length=MAX_WAREHOUSES),
]


def _stock_or_what_makes_it(schema: dict[str, Any]) -> None:
    """In the JSON Schema: at least one of the three is required."""
    schema["required"].remove("stock")
    schema["anyOf"] = [{"required": [name]} for name in ("stock", "warehouses", "bundle")]


class Item(Part):
    """What buyers order: something with a stock of its own, or a bundle of such things."""

    model_config = ConfigDict(json_schema_extra=_stock_or_what_makes_it)

    sku: Name
    """Its name in requests, records and reports."""
    stock: Annotated[int, Field(ge=0, le=MAX_STOCK)]
    """Units for sale at the opening. Leave it out where `warehouses` say it; a bundle has none of
    its own."""
    warehouses: Warehouses | None = None
    """Instead of a stock: units by warehouse, the preferred one first. Their sum is sold from one
    shelf; an order is split by warehouse when it is sent (docs/order-life.md). Default none: nobody
    asks where units lie. All items that have a stock lie in warehouses, or none. Of the broken
    strategies only with `check_then_write`."""
    bundle: Bundle | None = None
    """Instead of a stock: what one set takes, units by sku of items that have a stock. An order of
    a set has all of its units or none (docs/order-life.md). Default none. Not with strategy
    `buckets` or a broken one."""
    price: Price
    """Price of one unit in the scenario's currency."""
    per_account_limit: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Units that one account may hold and buy, locked units included. Default 1: campaign
    documents set one per person for flash-sale items. It counts orders of this sku: units in
    bundles count as sets, against the limit of the bundle alone."""

    @model_validator(mode="before")
    @classmethod
    def _one_kind_of_stock(cls, value: object) -> object:
        """A stock that is written, one that warehouses add up to, or none."""
        if not isinstance(value, dict):
            return value
        stock, bundle, warehouses = (value.get(n) for n in ("stock", "bundle", "warehouses"))
        if bundle is not None and warehouses is not None:
            raise PydanticCustomError(
                "warehouses_of_bundle",
                "has warehouses and a bundle; a bundle lies where its items lie; leave one of the "
                "two out",
            )
        if bundle is not None and stock:
            raise PydanticCustomError(
                "stock_of_bundle",
                "has a stock and a bundle; a bundle is made of other items' stock; "
                "leave one of the two out",
            )
        if warehouses is not None:
            return {**value, "stock": _in_all(warehouses, stock)}
        return value if bundle is None else {**value, "stock": 0}

    @property
    def price_cents(self) -> int:
        """Price in hundredths of the currency."""
        return int(self.price * 100)


def _in_all(warehouses: object, stock: object) -> int:
    """The sum of what can be added; what is wrong in one of them is told at its place."""
    units = warehouses.values() if isinstance(warehouses, dict) else ()
    total = sum(number for number in units if type(number) is int and number > 0)
    if stock is not None and stock != total:
        raise PydanticCustomError(
            "stock_of_warehouses",
            "has a stock and warehouses; its stock is what lies in the warehouses; leave one of "
            "the two out",
        )
    if total > MAX_STOCK:
        raise PydanticCustomError(
            "too_much_in_warehouses",
            f"has {total:,} units in its warehouses; allowed {MAX_STOCK:,} in all; lower them",
        )
    return total


def _checked_currency(code: str) -> str:
    if len(code) != 3 or not (code.isascii() and code.isalpha() and code.isupper()):  # noqa: PLR2004
        raise PydanticCustomError("currency", "is no ISO 4217 code; write for example CNY or EUR")
    return code


Currency = Annotated[
    str,
    AfterValidator(_checked_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"}),
    Words("text", "three capital letters"),
]


Strategy = Literal[
    "conditional_update",
    "row_lock",
    "optimistic",
    "prededuct",
    "buckets",
    "check_then_write",
    "prededuct_without_return",
    "unguarded_release",
    "stuck_sold_out",
    "stale_expiry",
    "scattered_buckets",
]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
"""How a shop may keep its stock, in the order of the documents."""
BROKEN_STRATEGIES: frozenset[Strategy] = frozenset(
    STRATEGIES[STRATEGIES.index("check_then_write") :]
)
"""Those that lose or invent units on purpose: they prove that the detectors work."""

LOCKING_AT_PAYMENT: tuple[Strategy, ...] = (
    "conditional_update",
    "row_lock",
    "optimistic",
    "buckets",
)
"""Those that a payment can lock units by."""

LatePayment = Literal["hold", "refund", "recheck_stock", "query_before_cancel", "forget"]
LATE_PAYMENTS: tuple[LatePayment, ...] = get_args(LatePayment)
"""What may become of a payment that is in flight when its lock lapses."""
BROKEN_LATE_PAYMENTS: frozenset[LatePayment] = frozenset({"forget"})
"""Those that lose a buyer's money on purpose, likewise."""
EXTENDING: frozenset[LatePayment] = frozenset({"hold", "query_before_cancel"})
"""Where a payment in flight holds its lock: without end, or until the sweep that asks for it."""

LockPoint = Literal["order", "payment", "cart"]
LOCK_POINTS: tuple[LockPoint, ...] = get_args(LockPoint)
"""Where a shop may take the units of an order from the shelf."""

UnansweredCharge = Literal["wait", "charge_again"]
UNANSWERED_CHARGES: tuple[UnansweredCharge, ...] = get_args(UnansweredCharge)
"""What the shop may do when its provider has not answered within `payments.timeout`."""
BROKEN_UNANSWERED_CHARGES: frozenset[UnansweredCharge] = frozenset({"charge_again"})
"""Those that charge a buyer twice on purpose, likewise."""

Redeem = Literal["conditional_update", "check_then_write"]
REDEEMS: tuple[Redeem, ...] = get_args(Redeem)
"""How a shop may count the orders that carry its coupon."""
BROKEN_REDEEMS: frozenset[Redeem] = frozenset({"check_then_write"})
"""Those that redeem it too often on purpose, likewise."""


Discount = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(gt=0, max_digits=12, decimal_places=2),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
    Words("amount of money", "more than 0, two decimals"),
]


class Coupon(Part):
    """A coupon that makes an order cheaper, for so many orders in all (docs/coupons.md)."""

    limit: Annotated[int, Field(ge=0, le=1_000_000_000)]
    """Orders that may carry it, locked ones included. One that lapses or is cancelled gives its
    coupon back."""
    off: Discount
    """What an order with it costs less, whatever its quantity; the price of the cheapest item at
    most."""
    per_account: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Orders of one account that may carry it at once, paid ones included. Default 1: campaign
    documents issue such coupons once per person."""
    redeem: Redeem = "conditional_update"
    """How the shop counts. `conditional_update`: in the transaction of the order, one statement
    counts up if the limit allows. `check_then_write`, broken: the count is read first and written
    later, one higher, as if nobody had come in between (saleor, shopware, Vendure). Allowed only
    where nothing else is broken."""

    @property
    def off_cents(self) -> int:
        """The discount in hundredths of the currency."""
        return int(self.off * 100)


class Shop(Part):
    """The shop's side of the sale. The sale opens at T0; every time in the file counts from it."""

    lock_time: PositiveDuration
    """How long an unpaid reservation keeps its stock. Required: no campaign document ever states
    it, yet it decides how long bots can hold stock. Seen in real shops: 5m for flash sales, 10m
    for drops, 30m and more on normal days."""
    release_sweep: PositiveDuration = 1.0
    """How often lapsed reservations are released. Default 1s; 60s is common in real shops, 5m and
    more were seen."""
    release_jitter: Duration = 0.0
    """Each lock lasts longer by a uniform share of it, so that locks made in one rush do not all
    lapse at one moment. Default 0s."""
    lock_point: LockPoint = "order"
    """Which step takes units from the shelf. `order`: a reservation locks its units for
    `lock_time`. `cart`: they are locked for `lock_time` when they are put into the cart, by a step
    of its own before the reservation, which makes an order of it with what is left of that time
    (`cart_time` and `abandon_fraction` of a persona); not with a broken strategy or a coupon.
    `payment`: a reservation is refused when too few units are there, but takes none;
    every attempt to pay locks them first, until the provider has answered, and is told `sold out`
    when others were faster: nothing is charged and the order is gone (Vendure allocates stock
    when the payment is settled). Default order. `payment` needs the strategy `conditional_update`,
    `row_lock`, `optimistic` or `buckets`, `late_payment: hold` and `unanswered_charge: wait`."""
    strategy: Strategy = "conditional_update"
    """How the shop keeps its stock. The first five are correct; `check_then_write` and what follows
    are broken in the way of real shops, to prove that the detectors see it (docs/strategies.md)."""
    late_payment: LatePayment = "hold"
    """What becomes of a payment that is in flight when its lock lapses. `hold`: it holds the lock
    until the provider has answered. The others let the lock lapse. `refund`: money that comes after
    the release goes back at once. `recheck_stock`: it buys the units again if they are still free
    and within the account's limit, else it goes back (pretix). `query_before_cancel`: before the
    release the provider is asked; an open charge is closed there, so that it can take no money
    (ruoyi-vue-pro). `forget`, broken: money that comes after the release is kept, without an order
    and without a refund (macrozheng/mall). Broken strategies allow `hold` alone."""
    unanswered_charge: UnansweredCharge = "wait"
    """What the shop does when the provider has not answered within `payments.timeout`. `wait`: it
    goes on waiting. `charge_again`, broken: it sends a second charge under a new idempotency key
    beside the first, sells by whichever is captured first, and forgets the other: both may be
    captured (woocommerce-gateway-stripe). Allowed only with a correct
    strategy, with `late_payment: hold` and without `faults`."""
    coupon: Coupon | None = None
    """A coupon that buyers may bring (`coupon_fraction` of a persona). Default none. Broken
    strategies allow none."""
    refund: Refund | None = None
    """How buyers who have paid get their money back when they ask for it (`refund_fraction` of a
    persona). Default none: nobody asks. Broken strategies allow none."""
    currency: Currency = "CNY"
    """ISO 4217 code."""
    items: Annotated[list[Item], Field(min_length=1, max_length=10_000)]
    """What is for sale."""

    @property
    def has_warehouses(self) -> bool:
        """Whether orders are split by warehouse when they are sent."""
        return any(item.warehouses is not None for item in self.items)
