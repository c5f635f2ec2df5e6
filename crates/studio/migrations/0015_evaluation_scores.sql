-- What scoring came to, by the sha256 of all that it follows from: the same images are not scored twice.
CREATE TABLE evaluation_scores (
    key    TEXT PRIMARY KEY,
    output TEXT NOT NULL     -- JSON
);

-- Was never written.
ALTER TABLE evaluation_steps DROP COLUMN output;
