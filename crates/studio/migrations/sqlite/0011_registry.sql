-- Aliases of adapter versions, and the ledger: one row for each move of an alias and each change of a stage. Stages are not
-- stored; they follow from the ledger.

-- Verdicts of the gate on versions.
CREATE TABLE verdicts (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
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
    name            TEXT NOT NULL,
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

CREATE TRIGGER moves_are_not_changed BEFORE UPDATE ON moves BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER moves_are_not_deleted BEFORE DELETE ON moves BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
-- INSERT OR REPLACE would delete without the trigger above.
CREATE TRIGGER moves_are_appended BEFORE INSERT ON moves
WHEN NEW.number <> (SELECT COALESCE(MAX(number), 0) + 1 FROM moves WHERE name = NEW.name) BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;

-- The end of each ledger, so that a ledger that lost its last rows is found out.
CREATE TABLE ledger_heads (
    name   TEXT PRIMARY KEY,
    moves  BIGINT NOT NULL,
    digest TEXT NOT NULL
);

CREATE TABLE aliases (
    name    TEXT NOT NULL,
    alias   TEXT NOT NULL,
    version BIGINT NOT NULL,
    digest  TEXT NOT NULL,                      -- of the move that set it
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES adapter_versions (name, version)
);

-- One image with a fixed seed after each move to production: it shows whether a version still does what it did.
CREATE TABLE smoke_images (
    name       TEXT NOT NULL,
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

CREATE TRIGGER smoke_images_own_blob AFTER INSERT ON smoke_images BEGIN
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'smoke image', NEW.name || '/' || NEW.number)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
CREATE TRIGGER smoke_images_release_blob AFTER DELETE ON smoke_images BEGIN
    DELETE FROM blob_owners
    WHERE hash = OLD.hash AND kind = 'smoke image' AND owner = OLD.name || '/' || OLD.number;
END;
