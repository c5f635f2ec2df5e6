-- Who asked is kept as a digest from now on; the program replaces what is there when it opens the database. The network
-- is kept while a generation waits or runs, and forgotten when it has ended.
ALTER TABLE generations ADD COLUMN network TEXT;

-- Images that a generation starts from or is masked by. While a row names an image, it is not an unused upload.
CREATE TABLE generation_inputs (
    generation TEXT NOT NULL REFERENCES generations (id),
    hash       TEXT NOT NULL,
    PRIMARY KEY (generation, hash)
);

CREATE INDEX generation_inputs_by_hash ON generation_inputs (hash);

INSERT INTO generation_inputs (generation, hash)
SELECT id, json_extract(spec, '$.init_image') FROM generations
WHERE CASE WHEN json_valid(spec) THEN json_extract(spec, '$.init_image') IS NOT NULL ELSE FALSE END;

INSERT INTO generation_inputs (generation, hash)
SELECT id, json_extract(spec, '$.mask') FROM generations
WHERE CASE WHEN json_valid(spec) THEN json_extract(spec, '$.mask') IS NOT NULL ELSE FALSE END
ON CONFLICT (generation, hash) DO NOTHING;

-- That a request names an upload now follows from `generation_inputs`.
DROP INDEX uploads_by_age;
ALTER TABLE uploads DROP COLUMN used;
ALTER TABLE uploads ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;   -- 0: uploaded before sizes were kept
CREATE INDEX uploads_by_age ON uploads (created_at);

-- Who brought an upload; several may have brought the same pixels. It goes with the last of them.
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

INSERT INTO upload_owners (hash, owner, network, bytes, created_at)
SELECT uploads.hash, generations.visitor, '', 0, MIN(uploads.created_at)
FROM uploads JOIN generation_inputs ON generation_inputs.hash = uploads.hash
JOIN generations ON generations.id = generation_inputs.generation
WHERE generations.visitor IS NOT NULL
GROUP BY uploads.hash, generations.visitor;

-- Files that nothing may need any more, noted in the same transaction that took the last row out: they are looked at
-- right after it, and again at each sweep, so that a crash leaves none behind.
CREATE TABLE blobs_to_remove (
    hash TEXT PRIMARY KEY
);

-- What the admin decides about a version. A deleted one keeps its number, which images and cards may name.
ALTER TABLE adapter_versions ADD COLUMN hidden BIGINT NOT NULL DEFAULT 0;
ALTER TABLE adapter_versions ADD COLUMN downloads BIGINT NOT NULL DEFAULT 1;
ALTER TABLE adapter_versions ADD COLUMN deleted_at BIGINT;
