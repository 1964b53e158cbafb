-- The read-back after a sale, one row an item. Units are counted from the reservations, available
-- ones from the stock row: the two only add up to the initial stock when both are right.
-- Parameter :lapsed_before_s is now less one sweep.
WITH held AS (
    SELECT sku, account, sum(quantity) AS units
    FROM reservations
    WHERE state <> 'released'
    GROUP BY sku, account
),
most_held AS (
    SELECT sku, max(units) AS units FROM held GROUP BY sku
),
counted AS (
    SELECT sku,
           sum(CASE state WHEN 'locked' THEN quantity ELSE 0 END) AS locked_units,
           sum(CASE state WHEN 'sold' THEN quantity ELSE 0 END)   AS sold_units,
           sum(state = 'sold')                                    AS orders_paid,
           -- A payment in flight rightly holds its lock beyond its time. (The state is asked in the
           -- words of the index payments_live, or SQLite would not use it.)
           sum(state = 'locked' AND expires_at_s < :lapsed_before_s AND NOT EXISTS (
               SELECT 1 FROM payments
               WHERE payments.reservation_id = reservations.id
                 AND payments.state IN ('pending', 'paid')
           ) AND NOT EXISTS (
               -- One that was refused since then has held it until a moment ago.
               SELECT 1 FROM payments
               WHERE payments.reservation_id = reservations.id
                 AND payments.decided_at_s >= :lapsed_before_s
           ))                                                     AS lapsed_locks
    FROM reservations
    WHERE state <> 'released'
    GROUP BY sku
)
SELECT items.sku                          AS sku,
       items.initial_units                AS initial_units,
       items.available_units              AS available_units,
       coalesce(counted.locked_units, 0)  AS locked_units,
       coalesce(counted.sold_units, 0)    AS sold_units,
       coalesce(counted.orders_paid, 0)   AS orders_paid,
       coalesce(most_held.units, 0)       AS max_units_per_account,
       coalesce(counted.lapsed_locks, 0)  AS lapsed_locks
FROM items
LEFT JOIN counted ON counted.sku = items.sku
LEFT JOIN most_held ON most_held.sku = items.sku
ORDER BY items.position;
