-- Embeddings (textual inversions): words of prompts that stand for vectors. Rows can go; their files are blobs.
CREATE TABLE embeddings (
    folded     TEXT PRIMARY KEY,             -- the word in lower case, as prompts are read
    word       TEXT NOT NULL,
    hash       TEXT NOT NULL,                -- of the file
    vectors    BIGINT NOT NULL,
    width      BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
