-- The money of a sale. The table `captures` holds what the provider took and did not give back,
-- one row a charge: (reference = id of the reservation, amount_cents).
SELECT (SELECT coalesce(sum(amount_cents), 0) FROM reservations WHERE state = 'sold')
           AS paid_cents,
       (SELECT count(*) FROM captures)
           AS payments_captured,
       (SELECT coalesce(sum(amount_cents), 0) FROM captures)
           AS captured_cents,
       (SELECT count(*) FROM (SELECT 1 FROM captures GROUP BY reference HAVING count(*) > 1))
           AS orders_captured_twice,
       (SELECT count(*)
        FROM captures
        LEFT JOIN reservations ON reservations.id = captures.reference
        WHERE reservations.id IS NULL OR reservations.state = 'released')
           AS payments_without_order;
