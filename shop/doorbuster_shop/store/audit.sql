-- The read-back after a sale, one row an item. Units are counted from the reservations, available
-- ones from the stock rows: the two only add up to the initial stock when both are right.
-- The value asked for, twice, is now less one sweep.
WITH held AS (
    SELECT sku, account, sum(quantity) AS units
    FROM reservations
    WHERE state IN ('locked', 'sold', 'refunding', 'refunded') AND returned_at_s IS NULL
    GROUP BY sku, account
),
most_held AS (
    SELECT sku, max(units) AS units FROM held GROUP BY sku
),
shelf AS (
    SELECT sku, sum(initial_units) AS initial_units, sum(available_units) AS available_units
    FROM stock
    GROUP BY sku
),
overdue AS (
    SELECT sku, count(*) AS locks
    FROM reservations
    WHERE state = 'locked' AND expires_at_s < ?
      -- A payment in flight rightly holds its lock beyond its time. (The state is asked in the words
      -- of the index payments_live, or SQLite would not use it.)
      AND NOT EXISTS (
          SELECT 1 FROM payments
          WHERE payments.reservation_id = reservations.id
            AND payments.state IN ('pending', 'paid'))
      -- One that was refused since then has held it until a moment ago.
      AND NOT EXISTS (
          SELECT 1 FROM payments
          WHERE payments.reservation_id = reservations.id
            AND payments.decided_at_s >= ?)
    GROUP BY sku
),
counted AS (
    SELECT sku,
           sum(CASE state WHEN 'locked' THEN quantity ELSE 0 END) AS locked_units,
           sum(CASE state WHEN 'sold' THEN quantity ELSE 0 END)   AS paid_units,
           sum(CASE state WHEN 'sold' THEN 1 ELSE 0 END)          AS orders_paid,
           sum(CASE WHEN refund_asked_at_s IS NULL THEN 0 ELSE 1 END) AS orders_refunded,
           -- Units of refunded orders that were sent: sold, and nobody pays for them.
           sum(CASE WHEN refund_asked_at_s IS NULL OR returned_at_s IS NOT NULL
                    THEN 0 ELSE quantity END)                     AS unreturned_units
    FROM reservations
    WHERE state IN ('locked', 'sold', 'refunding', 'refunded')
    GROUP BY sku
)
SELECT items.sku,
       shelf.initial_units,
       shelf.available_units,
       coalesce(counted.locked_units, 0),
       coalesce(counted.paid_units + counted.unreturned_units, 0),
       coalesce(counted.orders_paid, 0),
       coalesce(most_held.units, 0),
       0,  -- sets of bundles, which are not sold here
       coalesce(overdue.locks, 0),
       coalesce(counted.orders_refunded, 0),
       coalesce(counted.unreturned_units, 0)
FROM items
JOIN shelf ON shelf.sku = items.sku
LEFT JOIN counted ON counted.sku = items.sku
LEFT JOIN most_held ON most_held.sku = items.sku
LEFT JOIN overdue ON overdue.sku = items.sku
ORDER BY items.position
