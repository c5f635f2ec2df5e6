-- Evaluations of adapter versions: jobs of a third kind, their steps, and the images that they rest on.
CREATE TABLE evaluations (
    id            TEXT PRIMARY KEY REFERENCES jobs (id),
    request       TEXT NOT NULL,                -- JSON
    name          TEXT NOT NULL,
    version       BIGINT NOT NULL,
    hash          TEXT NOT NULL,                -- of the version's file
    champion      BIGINT,                       -- the version that its style is compared with
    champion_hash TEXT,
    base          TEXT NOT NULL,                -- hash of the model
    suite         TEXT NOT NULL,                -- JSON
    policy        TEXT NOT NULL,                -- TOML
    judge         TEXT,
    images        BIGINT NOT NULL DEFAULT 0,    -- of the plan
    warnings      TEXT NOT NULL DEFAULT '[]',   -- JSON
    verdict       TEXT                          -- JSON
);

CREATE INDEX evaluations_by_version ON evaluations (name, version, id);

CREATE TABLE evaluation_steps (
    evaluation TEXT NOT NULL REFERENCES evaluations (id),
    name       TEXT NOT NULL,
    key        TEXT NOT NULL,                   -- sha256 of name, revision and inputs
    detail     TEXT NOT NULL,                   -- JSON: inputs, state, why, seconds, log
    state      TEXT NOT NULL,
    output     TEXT,                            -- JSON, where later steps or evaluations read it
    PRIMARY KEY (evaluation, name)
);

CREATE INDEX evaluation_steps_by_key ON evaluation_steps (key, state);

CREATE TABLE evaluation_images (
    evaluation   TEXT NOT NULL REFERENCES evaluations (id),
    role         TEXT NOT NULL,
    prompt       BIGINT NOT NULL,
    seed         BIGINT NOT NULL,
    text         TEXT NOT NULL,
    recipe       TEXT NOT NULL,                 -- sha256 of everything that the image depends on
    hash         TEXT NOT NULL,
    seconds      DOUBLE PRECISION NOT NULL,
    clip_score   DOUBLE PRECISION,
    style_margin DOUBLE PRECISION,
    PRIMARY KEY (evaluation, role, prompt, seed)
);

CREATE INDEX evaluation_images_by_recipe ON evaluation_images (recipe);
CREATE INDEX evaluation_images_by_hash ON evaluation_images (hash);

CREATE TRIGGER evaluation_images_own_blob AFTER INSERT ON evaluation_images BEGIN
    INSERT INTO blob_owners (hash, kind, owner)
    VALUES (NEW.hash, 'evaluation image', NEW.evaluation || '/' || NEW.role || '/' || NEW.prompt || '/' || NEW.seed)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
CREATE TRIGGER evaluation_images_release_blob AFTER DELETE ON evaluation_images BEGIN
    DELETE FROM blob_owners WHERE hash = OLD.hash AND kind = 'evaluation image'
    AND owner = OLD.evaluation || '/' || OLD.role || '/' || OLD.prompt || '/' || OLD.seed;
END;
