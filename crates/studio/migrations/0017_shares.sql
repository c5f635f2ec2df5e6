-- Images that their makers have shared, each under the sha256 of its PNG file without texts: the file itself says how it was
-- made. A share goes with its image.
CREATE TABLE shares (
    generation  TEXT NOT NULL,
    position    BIGINT NOT NULL,
    hash        TEXT NOT NULL,
    with_recipe BIGINT NOT NULL,                -- whether prompt and parameters are shared too
    shared_at   BIGINT NOT NULL,
    PRIMARY KEY (generation, position),
    FOREIGN KEY (generation, position) REFERENCES images (generation, position) ON DELETE CASCADE
);

CREATE INDEX shares_by_hash ON shares (hash, with_recipe, shared_at);
