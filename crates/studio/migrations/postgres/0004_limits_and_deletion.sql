-- This step on PostgreSQL, where a database has no rows yet that would have to be carried over.

-- Kept while a generation is queued or running, cleared when it has ended.
ALTER TABLE generations ADD COLUMN network TEXT;

-- Images that a generation starts from or is masked by. While a row names an image, it is not an unused upload.
CREATE TABLE generation_inputs (
    generation TEXT NOT NULL REFERENCES generations (id),
    hash       TEXT NOT NULL,
    PRIMARY KEY (generation, hash)
);

CREATE INDEX generation_inputs_by_hash ON generation_inputs (hash);

-- Whether a request names an upload follows from `generation_inputs`.
DROP INDEX uploads_by_age;
ALTER TABLE uploads DROP COLUMN used;
ALTER TABLE uploads ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;   -- 0: uploaded before sizes were kept
CREATE INDEX uploads_by_age ON uploads (created_at);

-- Owners of an upload: the same pixels may have several. The upload is deleted with the last of them.
CREATE TABLE upload_owners (
    hash       TEXT NOT NULL REFERENCES uploads (hash),
    owner      TEXT NOT NULL,                  -- digest of the visitor; without one, ~ and the digest of the network
    network    TEXT NOT NULL,                  -- digest
    bytes      BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (hash, owner)
);

CREATE INDEX upload_owners_by_owner ON upload_owners (owner, created_at);
CREATE INDEX upload_owners_by_network ON upload_owners (network, created_at);

-- Files that may be unused, noted in the transaction that deleted the last row naming them. They are checked right
-- after it and at each sweep, so that a crash leaves none behind.
CREATE TABLE blobs_to_remove (
    hash TEXT PRIMARY KEY
);

-- The admin's decisions about a version. A deleted one keeps its number, which images and cards may name.
ALTER TABLE adapter_versions ADD COLUMN hidden BIGINT NOT NULL DEFAULT 0;
ALTER TABLE adapter_versions ADD COLUMN downloads BIGINT NOT NULL DEFAULT 1;
ALTER TABLE adapter_versions ADD COLUMN deleted_at BIGINT;
