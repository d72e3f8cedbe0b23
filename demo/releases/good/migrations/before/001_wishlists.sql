-- Adds only: the application of release 1 goes on working with it.
CREATE TABLE wishlists (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES customers (id),
  product_id integer NOT NULL REFERENCES products (id),
  added_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (customer_id, product_id)
);
COMMENT ON TABLE wishlists IS 'What customers may buy one day';
GRANT SELECT, INSERT, DELETE ON wishlists TO shop_app;

ALTER TABLE orders ADD COLUMN gift boolean NOT NULL DEFAULT false;
