-- Fails: customers have as many points as they like, and no tier was agreed on for so few.
ALTER TABLE loyalty ADD COLUMN tier text NOT NULL DEFAULT 'bronze';
ALTER TABLE loyalty ADD CONSTRAINT loyalty_points_of_tier CHECK (tier <> 'bronze' OR points >= 1000);
