-- Flags become BIGINT, 0 or 1: sqlx's `Any` driver reads no BOOLEAN of SQLite.
ALTER TABLE training_jobs ADD COLUMN is_halved BIGINT NOT NULL DEFAULT 0;
UPDATE training_jobs SET is_halved = 1 WHERE halved;
ALTER TABLE training_jobs DROP COLUMN halved;
ALTER TABLE training_jobs RENAME COLUMN is_halved TO halved;

-- Part of the primary key, so the table is replaced.
CREATE TABLE training_samples_new (
    job          TEXT NOT NULL REFERENCES training_jobs (id),
    step         BIGINT NOT NULL,
    prompt_index BIGINT NOT NULL,
    with_adapter BIGINT NOT NULL,
    prompt       TEXT NOT NULL,
    hash         TEXT NOT NULL,
    number       BIGINT NOT NULL,
    PRIMARY KEY (job, step, prompt_index, with_adapter)
);
INSERT INTO training_samples_new (job, step, prompt_index, with_adapter, prompt, hash, number)
SELECT job, step, prompt_index, CASE WHEN with_adapter THEN 1 ELSE 0 END, prompt, hash, number FROM training_samples;
DROP TABLE training_samples;
ALTER TABLE training_samples_new RENAME TO training_samples;
CREATE INDEX training_samples_by_hash ON training_samples (hash);
