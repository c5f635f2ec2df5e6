-- Versions that were made of steps of training runs: their dataset, base model and lineage are those of the run.
CREATE TABLE kept_steps (
    version TEXT NOT NULL,                     -- name@vN
    job     TEXT NOT NULL REFERENCES training_jobs (id),
    step    BIGINT NOT NULL,
    PRIMARY KEY (version, job, step)
);
