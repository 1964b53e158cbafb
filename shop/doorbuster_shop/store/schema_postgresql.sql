-- The truth of the shop in PostgreSQL 13 and later. Money in cents, times in seconds since the Unix
-- epoch. Lines that begin with `-- guard:` hold in every shop but those that are broken on purpose.

-- When the sale opens, and how its stock is kept. `schema_version`: of these tables.
CREATE TABLE sale (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    opens_at_s      DOUBLE PRECISION NOT NULL,
    strategy        TEXT NOT NULL,
    schema_version  INTEGER NOT NULL DEFAULT 8
);

-- One row an item: its terms.
CREATE TABLE items (
    sku                TEXT PRIMARY KEY,
    position           INTEGER NOT NULL,  -- order in the scenario file
    price_cents        BIGINT NOT NULL CHECK (price_cents >= 0),
    per_account_limit  INTEGER NOT NULL CHECK (per_account_limit > 0)
);

-- The units of an item, in one row or, with the strategy `buckets`, in several. The last guard is the
-- law of conservation. Every change counts the version up.
CREATE TABLE stock (
    sku              TEXT NOT NULL REFERENCES items (sku),
    bucket           INTEGER NOT NULL,
    initial_units    INTEGER NOT NULL,
    available_units  INTEGER NOT NULL,
    locked_units     INTEGER NOT NULL,
    sold_units       INTEGER NOT NULL,
    version          BIGINT NOT NULL DEFAULT 0,
    -- guard: CHECK (available_units >= 0 AND locked_units >= 0 AND sold_units >= 0),
    -- guard: CHECK (available_units + locked_units + sold_units = initial_units),
    PRIMARY KEY (sku, bucket)
);

-- What one set of a bundle takes. A bundle has no row in the stock; its orders keep its sku.
CREATE TABLE bundle_lines (
    bundle  TEXT NOT NULL REFERENCES items (sku),
    sku     TEXT NOT NULL REFERENCES items (sku),
    units   INTEGER NOT NULL CHECK (units > 0),
    PRIMARY KEY (bundle, sku)
);

-- The units of an item that lie in one warehouse, where items lie in warehouses; `position`: the
-- preferred one is 0. The stock says what is for sale, this table what can be sent from where.
CREATE TABLE warehouses (
    sku              TEXT NOT NULL REFERENCES items (sku),
    warehouse        TEXT NOT NULL,
    position         INTEGER NOT NULL,
    initial_units    INTEGER NOT NULL,
    available_units  INTEGER NOT NULL CHECK (available_units BETWEEN 0 AND initial_units),
    PRIMARY KEY (sku, warehouse)
);

-- The coupon of the sale, if it has one: orders that may carry it, and how many do as the shop counts
-- them. Counting wrongly never leaves these bounds: see the orders for what was given away.
CREATE TABLE coupons (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    limit_orders  INTEGER NOT NULL,
    off_cents     BIGINT NOT NULL CHECK (off_cents > 0),
    per_account   INTEGER NOT NULL,
    redeem        TEXT NOT NULL,
    redeemed      INTEGER NOT NULL CHECK (redeemed BETWEEN 0 AND limit_orders)
);

-- A reservation locks units until it is paid (sold), its time is up (released) or the operator
-- cancels it. Where payments lock, it is open before and between them and holds none. Where units are
-- locked by the cart, it is a cart until it is ordered. One that is
-- paid may be given back (refunding, and refunded when the money is). Its idempotency key is unique,
-- so that a repeated request finds it instead of making another.
CREATE TABLE reservations (
    id               TEXT PRIMARY KEY,
    idempotency_key  TEXT NOT NULL UNIQUE,
    sku              TEXT NOT NULL REFERENCES items (sku),
    bucket           INTEGER NOT NULL,
    account          TEXT NOT NULL,
    quantity         INTEGER NOT NULL CHECK (quantity > 0),
    amount_cents     BIGINT NOT NULL CHECK (amount_cents >= 0),  -- less the discount
    discount_cents   BIGINT NOT NULL CHECK (discount_cents >= 0),  -- 0 without the coupon
    state            TEXT NOT NULL CHECK (
        state IN ('locked', 'open', 'cart', 'sold', 'released', 'cancelled', 'refunding',
                  'refunded')),
    reserved_at_s    DOUBLE PRECISION NOT NULL,
    expires_at_s     DOUBLE PRECISION NOT NULL,
    released_at_s    DOUBLE PRECISION,  -- also when it was cancelled
    sold_at_s        DOUBLE PRECISION,
    refund_asked_at_s DOUBLE PRECISION,  -- when its buyer was granted the money back
    returned_at_s    DOUBLE PRECISION   -- when that put its units back on the shelf
);

-- What an account holds counts against its limit, units that came back do not.
CREATE INDEX reservations_held ON reservations (account, sku)
    WHERE state IN ('locked', 'open', 'cart', 'sold', 'refunding', 'refunded')
      AND returned_at_s IS NULL;
-- Orders of an account that carry the coupon.
CREATE INDEX reservations_discounted ON reservations (account)
    WHERE discount_cents > 0 AND state IN ('locked', 'open', 'sold', 'refunding', 'refunded');
-- What the sweep looks through.
CREATE INDEX reservations_locked ON reservations (expires_at_s)
    WHERE state IN ('locked', 'cart');
CREATE INDEX reservations_open ON reservations (expires_at_s) WHERE state = 'open';

-- Paid orders that are not split by warehouse yet. The transaction that sells an order puts it here,
-- the one that splits it takes it away.
CREATE TABLE unsent (
    reservation_id  TEXT PRIMARY KEY REFERENCES reservations (id),
    sold_at_s       DOUBLE PRECISION NOT NULL,
    reserved_at_s   DOUBLE PRECISION NOT NULL
);

-- Units of one line of an order that one warehouse sends.
CREATE TABLE shipments (
    reservation_id  TEXT NOT NULL REFERENCES reservations (id),
    sku             TEXT NOT NULL,
    warehouse       TEXT NOT NULL,
    units           INTEGER NOT NULL CHECK (units > 0),
    sent_at_s       DOUBLE PRECISION NOT NULL,
    returned_at_s   DOUBLE PRECISION,  -- when a refund put them back there
    PRIMARY KEY (reservation_id, sku, warehouse),
    FOREIGN KEY (sku, warehouse) REFERENCES warehouses (sku, warehouse)
);

-- One row an attempt to pay. `pending` until the provider's answer is known. `refunding` and
-- `refunded`: the provider took the money after the lock was gone, or the buyer wants it back; it is
-- sent from `refund_due_at_s` on, where that is known.
CREATE TABLE payments (
    id               TEXT PRIMARY KEY,
    idempotency_key  TEXT NOT NULL UNIQUE,
    reservation_id   TEXT NOT NULL REFERENCES reservations (id),
    channel          TEXT NOT NULL,
    means            TEXT NOT NULL,
    amount_cents     BIGINT NOT NULL CHECK (amount_cents >= 0),
    state            TEXT NOT NULL CHECK (
        state IN ('pending', 'paid', 'declined', 'expired', 'refunding', 'refunded')),
    charge_id        TEXT,
    began_at_s       DOUBLE PRECISION NOT NULL,
    decided_at_s     DOUBLE PRECISION,
    refund_due_at_s  DOUBLE PRECISION
);

-- No reservation is ever charged twice: at most one payment is in flight or has succeeded.
CREATE UNIQUE INDEX payments_live ON payments (reservation_id) WHERE state IN ('pending', 'paid');
-- What a restarted shop has to take up again.
CREATE INDEX payments_open ON payments (state) WHERE state IN ('pending', 'refunding');
