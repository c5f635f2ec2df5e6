-- What a history is searched by, and how an image is rated: one row for each image, small enough to be read by thousands.
CREATE TABLE history (
    generation TEXT NOT NULL,
    position   BIGINT NOT NULL,
    visitor    TEXT NOT NULL,                   -- digest; empty without a cookie
    created_at BIGINT NOT NULL,                 -- of the image
    seed       TEXT NOT NULL DEFAULT '',
    adapters   TEXT NOT NULL DEFAULT '',        -- each as name and name@vN, in spaces
    words      TEXT,                            -- of the prompt, in lower case, in spaces; NULL: the program reads the recipe
    starred    BIGINT NOT NULL DEFAULT 0,
    thumb      BIGINT NOT NULL DEFAULT 0 CHECK (thumb IN (-1, 0, 1)),
    rated_at   BIGINT,
    PRIMARY KEY (generation, position),
    FOREIGN KEY (generation, position) REFERENCES images (generation, position) ON DELETE CASCADE
);

INSERT INTO history (generation, position, visitor, created_at)
SELECT generation, position, COALESCE(visitor, ''), created_at FROM images;

CREATE INDEX history_by_time ON history (visitor, created_at);
CREATE INDEX history_by_seed ON history (visitor, seed, created_at);
CREATE INDEX history_starred ON history (visitor, created_at) WHERE starred = 1;
CREATE INDEX history_unread ON history (created_at) WHERE words IS NULL;
CREATE INDEX history_rated ON history (rated_at) WHERE rated_at IS NOT NULL;

-- Images of everybody, in pages.
CREATE INDEX images_by_time ON images (created_at);

-- Images that someone has reported, with the reason. They go with the image.
CREATE TABLE flags (
    id         TEXT PRIMARY KEY,                -- a UUID v7
    generation TEXT NOT NULL,
    position   BIGINT NOT NULL,
    reason     TEXT NOT NULL,
    reporter   TEXT NOT NULL,                   -- digest of the visitor or, without one, ~ and of the network
    created_at BIGINT NOT NULL,
    closed_at  BIGINT,                          -- NULL: the admin has not dealt with it
    outcome    TEXT CHECK (outcome IN ('dismissed', 'added')),   -- added: its prompt is in the suite
    FOREIGN KEY (generation, position) REFERENCES images (generation, position) ON DELETE CASCADE
);

CREATE INDEX flags_by_image ON flags (generation, position);
CREATE INDEX flags_by_reporter ON flags (reporter, created_at);
CREATE INDEX flags_open ON flags (id) WHERE closed_at IS NULL;
