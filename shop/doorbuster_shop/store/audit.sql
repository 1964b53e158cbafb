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
lines AS (
    -- What one unit of each item takes from the shelf: itself, or the lines of a bundle.
    SELECT sku AS ordered, sku, 1 AS units FROM items
    WHERE NOT EXISTS (SELECT 1 FROM bundle_lines WHERE bundle_lines.bundle = items.sku)
    UNION ALL
    SELECT bundle, sku, units FROM bundle_lines
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
    SELECT lines.sku,
           sum(CASE state WHEN 'locked' THEN quantity * units ELSE 0 END) AS locked_units,
           sum(CASE state WHEN 'sold' THEN quantity * units ELSE 0 END)   AS paid_units,
           -- Units of refunded orders that were sent: sold, and nobody pays for them.
           sum(CASE WHEN refund_asked_at_s IS NULL OR returned_at_s IS NOT NULL
                    THEN 0 ELSE quantity * units END)                     AS unreturned_units
    FROM reservations JOIN lines ON lines.ordered = reservations.sku
    WHERE state IN ('locked', 'sold', 'refunding', 'refunded')
    GROUP BY lines.sku
),
orders AS (
    SELECT sku,
           sum(CASE state WHEN 'sold' THEN 1 ELSE 0 END)              AS paid,
           sum(CASE state WHEN 'sold' THEN quantity ELSE 0 END)       AS quantity,
           sum(CASE WHEN refund_asked_at_s IS NULL THEN 0 ELSE 1 END) AS refunded
    FROM reservations
    WHERE state IN ('sold', 'refunding', 'refunded')
    GROUP BY sku
)
SELECT items.sku,
       coalesce(shelf.initial_units, 0),
       coalesce(shelf.available_units, 0),
       coalesce(counted.locked_units, 0),
       coalesce(counted.paid_units + counted.unreturned_units, 0),
       coalesce(orders.paid, 0),
       coalesce(most_held.units, 0),
       CASE WHEN shelf.sku IS NULL THEN coalesce(orders.quantity, 0) ELSE 0 END,  -- sets
       coalesce(overdue.locks, 0),
       coalesce(orders.refunded, 0),
       coalesce(counted.unreturned_units, 0)
FROM items
LEFT JOIN shelf ON shelf.sku = items.sku
LEFT JOIN counted ON counted.sku = items.sku
LEFT JOIN orders ON orders.sku = items.sku
LEFT JOIN most_held ON most_held.sku = items.sku
LEFT JOIN overdue ON overdue.sku = items.sku
ORDER BY items.position
