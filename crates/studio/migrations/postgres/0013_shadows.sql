-- Shadow rendering: a challenger renders every k-th production generation again, and the pairs of images are scored.
CREATE TABLE shadows (
    id            TEXT COLLATE "C" PRIMARY KEY, -- a UUID v7
    name          TEXT COLLATE "C" NOT NULL, -- of the adapter
    version       BIGINT NOT NULL,              -- the challenger
    hash          TEXT NOT NULL,
    champion      BIGINT NOT NULL,              -- the version in production
    champion_hash TEXT NOT NULL,
    base          TEXT NOT NULL,                -- hash of the base model
    judge         TEXT NOT NULL,                -- hash and revision
    judge_name    TEXT NOT NULL,
    style         TEXT NOT NULL,                -- JSON: what style is compared with, or why it is not measured
    every         BIGINT NOT NULL,              -- k
    max_pairs     BIGINT NOT NULL,
    generations   BIGINT NOT NULL DEFAULT 0,    -- of production since it was switched on
    started_at    BIGINT NOT NULL,
    started_by    TEXT NOT NULL,
    ended_at      BIGINT,                       -- NULL: it is on
    ended_by      TEXT,
    reason        TEXT                          -- why it ended
);

-- At most one challenger of an adapter.
CREATE UNIQUE INDEX shadows_on ON shadows (name) WHERE ended_at IS NULL;
CREATE INDEX shadows_by_version ON shadows (name, version, id);

CREATE TABLE shadow_pairs (
    shadow           TEXT COLLATE "C" NOT NULL REFERENCES shadows (id),
    number           BIGINT NOT NULL,           -- which of the production generations it is
    generation       TEXT COLLATE "C", -- NULL: deleted
    state            TEXT NOT NULL CHECK (state IN ('waiting', 'scored', 'left_out')),
    attempts         BIGINT NOT NULL DEFAULT 0, -- renderings that were begun and not ended
    note             TEXT,                      -- why it was left out
    champion_clip    DOUBLE PRECISION,          -- CLIPScores
    challenger_clip  DOUBLE PRECISION,
    champion_style   DOUBLE PRECISION,          -- style margins
    challenger_style DOUBLE PRECISION,
    PRIMARY KEY (shadow, number)
);

CREATE INDEX shadow_pairs_by_state ON shadow_pairs (state, shadow);
CREATE INDEX shadow_pairs_by_generation ON shadow_pairs (generation);

-- The challengers' images of the newest pairs.
CREATE TABLE shadow_images (
    shadow     TEXT COLLATE "C" NOT NULL,
    number     BIGINT NOT NULL,
    generation TEXT COLLATE "C" NOT NULL,
    hash       TEXT NOT NULL,
    PRIMARY KEY (shadow, number),
    FOREIGN KEY (shadow, number) REFERENCES shadow_pairs (shadow, number)
);

CREATE INDEX shadow_images_by_hash ON shadow_images (hash);
CREATE INDEX shadow_images_by_generation ON shadow_images (generation);

CREATE TRIGGER shadow_images_own_blob AFTER INSERT ON shadow_images
    FOR EACH ROW EXECUTE FUNCTION own_blob('shadow image', 'shadow', 'number');
CREATE TRIGGER shadow_images_release_blob AFTER DELETE ON shadow_images
    FOR EACH ROW EXECUTE FUNCTION release_blob('shadow image', 'shadow', 'number');

-- What a visitor deletes leaves nothing but numbers. The pair comes first, because storing its image locks it, too.
CREATE FUNCTION end_pairs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE shadow_pairs SET generation = NULL,
        note = CASE state WHEN 'waiting' THEN 'The generation was deleted.' ELSE note END,
        state = CASE state WHEN 'waiting' THEN 'left_out' ELSE state END
    WHERE generation = OLD.generation;
    DELETE FROM shadow_images WHERE generation = OLD.generation;
    RETURN NULL;
END $$;

CREATE TRIGGER images_end_pairs AFTER DELETE ON images
    FOR EACH ROW WHEN (OLD.position = 0) EXECUTE FUNCTION end_pairs();
