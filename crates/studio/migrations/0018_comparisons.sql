-- Blind votes: which of two versions makes the better image of the same prompt and noise? The pairs are the images of an
-- evaluation.
CREATE TABLE comparisons (
    id         TEXT PRIMARY KEY,                -- a UUID v7
    token      TEXT NOT NULL,                   -- in the link for voters
    evaluation TEXT NOT NULL REFERENCES evaluations (id),
    version    TEXT NOT NULL,                   -- name@vN
    against    TEXT NOT NULL,                   -- name@vN; empty: the base model
    created_at BIGINT NOT NULL,
    closed_at  BIGINT                           -- NULL: votes are taken
);

CREATE UNIQUE INDEX comparisons_by_token ON comparisons (token);
CREATE INDEX comparisons_by_evaluation ON comparisons (evaluation);
CREATE INDEX comparisons_by_versions ON comparisons (version, against, id);

CREATE TABLE votes (
    comparison TEXT NOT NULL REFERENCES comparisons (id),
    pair       BIGINT NOT NULL,
    visitor    TEXT NOT NULL,                   -- digest
    number     BIGINT NOT NULL,                 -- the order in which they came
    outcome    TEXT NOT NULL CHECK (outcome IN ('better', 'worse', 'tie')),   -- of the version
    voted_at   BIGINT NOT NULL,
    PRIMARY KEY (comparison, pair, visitor)
);

CREATE UNIQUE INDEX votes_in_order ON votes (comparison, number);
CREATE INDEX votes_by_visitor ON votes (comparison, visitor);
