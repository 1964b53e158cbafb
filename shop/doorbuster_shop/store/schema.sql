-- The truth of the shop. Money in cents, times in seconds since the Unix epoch.
-- Written for SQLite 3.34 and later.

-- When the sale opens, and which version of these tables this is (PRAGMA user_version).
CREATE TABLE sale (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    opens_at_s  REAL NOT NULL
);

-- One row an item: its terms and its stock. The last check is the law of conservation.
CREATE TABLE items (
    sku                TEXT PRIMARY KEY,
    position           INTEGER NOT NULL,  -- order in the scenario file
    price_cents        INTEGER NOT NULL CHECK (price_cents >= 0),
    per_account_limit  INTEGER NOT NULL CHECK (per_account_limit > 0),
    initial_units      INTEGER NOT NULL,
    available_units    INTEGER NOT NULL CHECK (available_units >= 0),
    locked_units       INTEGER NOT NULL CHECK (locked_units >= 0),
    sold_units         INTEGER NOT NULL CHECK (sold_units >= 0),
    CHECK (available_units + locked_units + sold_units = initial_units)
) WITHOUT ROWID;

-- A reservation locks units until it is paid (sold) or its time is up (released).
-- Its idempotency key is unique, so that a repeated request finds it instead of making another.
CREATE TABLE reservations (
    id               TEXT PRIMARY KEY,
    idempotency_key  TEXT NOT NULL UNIQUE,
    sku              TEXT NOT NULL REFERENCES items (sku),
    account          TEXT NOT NULL,
    quantity         INTEGER NOT NULL CHECK (quantity > 0),
    amount_cents     INTEGER NOT NULL CHECK (amount_cents >= 0),
    state            TEXT NOT NULL CHECK (state IN ('locked', 'sold', 'released')),
    reserved_at_s    REAL NOT NULL,
    expires_at_s     REAL NOT NULL
) WITHOUT ROWID;

-- What an account holds counts against its limit, released units do not.
CREATE INDEX reservations_held ON reservations (account, sku) WHERE state <> 'released';
-- What the sweep looks through.
CREATE INDEX reservations_locked ON reservations (expires_at_s) WHERE state = 'locked';

-- One row an attempt to pay. `pending` until the provider's answer is known. `refunding` and
-- `refunded`: the provider took the money after the lock was gone.
CREATE TABLE payments (
    id               TEXT PRIMARY KEY,
    idempotency_key  TEXT NOT NULL UNIQUE,
    reservation_id   TEXT NOT NULL REFERENCES reservations (id),
    channel          TEXT NOT NULL,
    means            TEXT NOT NULL,
    amount_cents     INTEGER NOT NULL CHECK (amount_cents >= 0),
    state            TEXT NOT NULL CHECK (
        state IN ('pending', 'paid', 'declined', 'expired', 'refunding', 'refunded')),
    charge_id        TEXT,
    began_at_s       REAL NOT NULL,
    decided_at_s     REAL
) WITHOUT ROWID;

-- No reservation is ever charged twice: at most one payment is in flight or has succeeded.
CREATE UNIQUE INDEX payments_live ON payments (reservation_id) WHERE state IN ('pending', 'paid');
-- What a restarted shop has to take up again.
CREATE INDEX payments_open ON payments (state) WHERE state IN ('pending', 'refunding');

PRAGMA user_version = 1;
