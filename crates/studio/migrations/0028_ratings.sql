-- Ratings are counted by version, however many there are: from one index in that order, without a look at each generation.
ALTER TABLE history ADD COLUMN versions TEXT NOT NULL DEFAULT '';    -- of a rated image: as in generations

UPDATE history SET versions =
    COALESCE((SELECT generations.versions FROM generations WHERE generations.id = history.generation), '')
    WHERE rated_at IS NOT NULL;

DROP INDEX history_rated;
CREATE INDEX history_rated ON history (versions, rated_at, thumb, starred) WHERE rated_at IS NOT NULL;
