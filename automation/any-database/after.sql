-- Fails: the release ends half-way.
ALTER TABLE added_by_the_release ADD CONSTRAINT short_notes CHECK (length(note) < 3);
