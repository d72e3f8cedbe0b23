"use strict";
// Release 1.1.0: wishlists and gifts.

exports.figures = async (query) => {
  const [figures] = await query(
    `SELECT (SELECT count(*) FROM products) AS "Products",
       (SELECT count(*) FROM orders) AS "Orders",
       (SELECT count(*) FROM orders WHERE gift) AS "Gifts",
       (SELECT count(*) FROM wishlists) AS "Wishes",
       (SELECT max(placed_at)::date::text FROM orders) AS "Last order",
       (SELECT (sum(total_cents) / 100)::bigint FROM monthly_revenue) AS "Revenue"`,
  );
  return figures;
};

exports.health = async (query) => {
  await query("SELECT count(*) FROM wishlists");
  const [newest] = await query("SELECT id, gift FROM orders ORDER BY id DESC LIMIT 1");
  // A savepoint, so that the look writes and leaves nothing.
  await query("SAVEPOINT health");
  await query("UPDATE orders SET gift = $2 WHERE id = $1", [newest.id, newest.gift]);
  await query("ROLLBACK TO SAVEPOINT health");
};

exports.order = async (query) => {
  const [order] = await query(
    "INSERT INTO orders (customer_id, gift, placed_at, updated_at) VALUES (1, false, now(), now()) RETURNING id",
  );
  await query(
    "INSERT INTO order_items (order_id, line, product_id, quantity, unit_cents) SELECT $1, 1, id, 1, price_cents FROM products WHERE id = 1",
    [order.id],
  );
  return order;
};
