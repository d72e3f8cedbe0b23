-- Deterministic: equal rows on every run, whatever the machine. No random(), no now().
SET timezone = 'UTC';

INSERT INTO categories (name, parent_id)
SELECT 'Department ' || n, NULL FROM generate_series(1, 8) n;
INSERT INTO categories (name, parent_id)
SELECT format('Shelf %s-%s', d, s), d FROM generate_series(1, 8) d, generate_series(1, 5) s ORDER BY d, s;

INSERT INTO products (id, category_id, sku, name, price_cents, attributes, created_at)
SELECT n, 9 + n % 40, 'SKU-' || lpad(n::text, 6, '0'), 'Product ' || n, 199 + (n * 7919) % 20000,
  jsonb_build_object('color', (ARRAY['red', 'green', 'blue', 'black'])[1 + n % 4], 'weight', (n * 31) % 5000,
    'tags', jsonb_build_array('t' || n % 17, 't' || n % 23)),
  timestamptz '2024-01-01 00:00+00' + n * interval '1 hour'
FROM generate_series(1, 2000) n;
SELECT setval(pg_get_serial_sequence('products', 'id'), 3000);

INSERT INTO customers (email, name, preferences, created_at)
SELECT 'customer' || n || '@example.com', 'Customer ' || n,
  CASE n % 3 WHEN 0 THEN '{}' ELSE jsonb_build_object('newsletter', n % 2 = 0, 'language', (ARRAY['en', 'de', 'fr'])[1 + n % 3]) END,
  timestamptz '2024-06-01 00:00+00' + n * interval '13 minutes'
FROM generate_series(1, 12000) n;

INSERT INTO orders (customer_id, status, currency, note, placed_at, updated_at)
SELECT 1 + (n * 7) % 12000, (enum_range(NULL::order_status))[1 + n % 4], (ARRAY['EUR', 'USD', 'GBP'])[1 + n % 3],
  CASE n % 11 WHEN 0 THEN 'Leave with the neighbour, door ' || n % 97 END,
  timestamptz '2025-01-01 00:00+00' + n * interval '8 minutes',
  timestamptz '2025-01-02 00:00+00' + n * interval '8 minutes'
FROM generate_series(1, 50000) n;

INSERT INTO order_items (order_id, line, product_id, quantity, unit_cents)
SELECT o, l, 1 + (o * 13 + l * 101) % 2000, 1 + (o + l) % 5, 199 + (o * 13 + l) % 20000
FROM generate_series(1, 50000) o, generate_series(1, 2) l;

INSERT INTO events (id, at, kind, customer_id, detail)
SELECT n, timestamptz '2025-01-01 00:00+00' + n * interval '17 minutes', (ARRAY['view', 'search', 'cart'])[1 + n % 3],
  1 + (n * 11) % 12000, CASE n % 4 WHEN 0 THEN jsonb_build_object('page', n % 300) END
FROM generate_series(1, 40000) n;

ALTER TABLE categories ADD FOREIGN KEY (parent_id) REFERENCES categories (id);
ALTER TABLE products ADD FOREIGN KEY (category_id) REFERENCES categories (id);
ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id);
ALTER TABLE order_items
  ADD FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
  ADD FOREIGN KEY (product_id) REFERENCES products (id);

CREATE UNIQUE INDEX customers_email ON customers (lower(email));
CREATE INDEX orders_customer ON orders (customer_id, placed_at DESC);
CREATE INDEX orders_open ON orders (placed_at) WHERE status = 'placed';
CREATE INDEX order_items_product ON order_items (product_id);
CREATE INDEX products_attributes ON products USING gin (attributes);
CREATE INDEX events_customer ON events (customer_id);

CREATE VIEW order_overview AS
SELECT o.id, o.status, o.currency, o.placed_at, c.name AS customer, sum(i.total_cents) AS total_cents
FROM orders o JOIN customers c ON c.id = o.customer_id JOIN order_items i ON i.order_id = o.id
GROUP BY o.id, c.name;

CREATE MATERIALIZED VIEW monthly_revenue AS
SELECT date_trunc('month', o.placed_at AT TIME ZONE 'UTC') AS month, o.currency, count(DISTINCT o.id) AS orders,
  sum(i.total_cents) AS total_cents
FROM orders o JOIN order_items i ON i.order_id = o.id
GROUP BY 1, 2;
CREATE UNIQUE INDEX monthly_revenue_key ON monthly_revenue (month, currency);

CREATE FUNCTION touch_order() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  NEW.updated_at := clock_timestamp();
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION touch_order() IS 'Keeps orders.updated_at';
CREATE TRIGGER orders_touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch_order();

UPDATE products SET manual = lo_from_bytea(100001, convert_to(repeat('How to use a thing. ', 500), 'UTF8')) WHERE id = 1;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_app;
GRANT INSERT, UPDATE ON orders, order_items, customers, events TO shop_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO shop_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO shop_app;
DO $$
DECLARE
  manual oid := (SELECT manual FROM products WHERE id = 1);
BEGIN
  EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', manual, 'The manual of product 1');
  EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO shop_app', manual);
  EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'UTC');
  EXECUTE format('ALTER DATABASE %I SET default_statistics_target = %L', current_database(), '50');
  EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'The shop');
END
$$;
