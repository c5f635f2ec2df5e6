-- Aliases of adapter versions, and the ledger: one row for each move of an alias and each change of a stage. Stages are not
-- stored; they follow from the ledger.

-- Verdicts of the gate on versions.
CREATE TABLE verdicts (
    id          TEXT PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL,
    champion    BIGINT,                         -- the version it was compared with
    policy_hash TEXT NOT NULL,                  -- of the criteria
    outcome     TEXT NOT NULL CHECK (outcome IN ('pass', 'fail', 'inconclusive')),
    criteria    TEXT NOT NULL,                  -- JSON
    created_at  BIGINT NOT NULL,
    FOREIGN KEY (name, version) REFERENCES adapter_versions (name, version)
);

CREATE INDEX verdicts_by_version ON verdicts (name, version, created_at);

CREATE TABLE moves (
    name            TEXT COLLATE "C" NOT NULL,
    number          BIGINT NOT NULL CHECK (number > 0),  -- from 1 for each adapter, without gaps
    at              BIGINT NOT NULL,
    who             TEXT NOT NULL,
    action          TEXT NOT NULL,
    alias           TEXT,                       -- NULL: only a stage changed
    from_version    BIGINT,
    to_version      BIGINT,
    verdict         TEXT REFERENCES verdicts (id),
    reason          TEXT NOT NULL,
    previous_digest TEXT NOT NULL,
    digest          TEXT NOT NULL,              -- sha256 of previous_digest and the row
    PRIMARY KEY (name, number),
    UNIQUE (name, previous_digest)              -- the chain does not fork
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the ledger is append-only';
END $$;
CREATE TRIGGER moves_are_not_changed BEFORE UPDATE OR DELETE ON moves FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER moves_are_not_truncated BEFORE TRUNCATE ON moves FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The end of each ledger, so that a ledger that lost its last rows is found out.
CREATE TABLE ledger_heads (
    name   TEXT COLLATE "C" PRIMARY KEY,
    moves  BIGINT NOT NULL,
    digest TEXT NOT NULL
);

CREATE TABLE aliases (
    name    TEXT COLLATE "C" NOT NULL,
    alias   TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    digest  TEXT NOT NULL,                      -- of the move that set it
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES adapter_versions (name, version)
);

-- One image with a fixed seed after each move to production: it shows whether a version still does what it did.
CREATE TABLE smoke_images (
    name       TEXT COLLATE "C" NOT NULL,
    number     BIGINT NOT NULL,                 -- of the move
    version    BIGINT NOT NULL,
    model      TEXT NOT NULL,                   -- hash of the base model
    device     TEXT NOT NULL,
    dtype      TEXT NOT NULL,
    hash       TEXT NOT NULL,
    result     TEXT NOT NULL CHECK (result IN ('first', 'equal', 'close', 'different')),
    difference DOUBLE PRECISION,                -- from the first one, when they are not equal
    created_at BIGINT NOT NULL,
    PRIMARY KEY (name, number)
);

CREATE TRIGGER smoke_images_own_blob AFTER INSERT ON smoke_images
    FOR EACH ROW EXECUTE FUNCTION own_blob('smoke image', 'name', 'number');
CREATE TRIGGER smoke_images_release_blob AFTER DELETE ON smoke_images
    FOR EACH ROW EXECUTE FUNCTION release_blob('smoke image', 'name', 'number');
