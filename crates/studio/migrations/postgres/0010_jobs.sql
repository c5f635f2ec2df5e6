-- Work of every kind is a job. What all kinds share moves from `generations` and `training_jobs` to `jobs`; they keep what
-- is theirs.
CREATE TABLE jobs (
    id          TEXT COLLATE "C" PRIMARY KEY,             -- of the generation or training run, a UUID v7
    kind        TEXT NOT NULL,                -- generation, training
    state       TEXT NOT NULL CHECK (state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled')),
    asked       TEXT CHECK (asked IN ('pause', 'cancel')),   -- of whoever runs it; done between two units
    owner       TEXT NOT NULL,                -- who takes turns: digest of the visitor or, without one, ~ and of the network
    turn        BIGINT NOT NULL,              -- virtual time at which it is due, in milliseconds of work
    cost        BIGINT NOT NULL,              -- expected milliseconds of work
    wants       TEXT NOT NULL DEFAULT '',     -- fingerprint of the adapters it needs; empty: none
    model       TEXT NOT NULL DEFAULT '',     -- hash of the model that it is for
    lease       BIGINT NOT NULL DEFAULT 0,    -- grows whenever the job changes hands; event numbers build on it
    holder      TEXT,                         -- the node that runs it
    lease_end   BIGINT,                       -- by the database's clock
    attempts    BIGINT NOT NULL DEFAULT 0,    -- claims since anything was gained
    last_event  BIGINT NOT NULL DEFAULT 0,    -- the largest number that a stored event has
    created_at  BIGINT NOT NULL,
    started_at  BIGINT,
    finished_at BIGINT,
    error       TEXT
);

CREATE INDEX jobs_by_state ON jobs (state, kind, turn, id);
CREATE INDEX jobs_by_owner ON jobs (kind, owner, turn);
CREATE INDEX jobs_started ON jobs (kind, turn) WHERE started_at IS NOT NULL;

-- Events that have no other row. Those of images, points and samples are these rows themselves, which have numbers too.
CREATE TABLE job_events (
    job    TEXT NOT NULL REFERENCES jobs (id),
    number BIGINT NOT NULL,
    name   TEXT NOT NULL,
    PRIMARY KEY (job, number)
);

-- Event numbers are the lease in millions and a count.
INSERT INTO jobs (id, kind, state, owner, turn, cost, attempts, last_event, created_at, started_at, finished_at, error)
SELECT id, 'generation', CASE state WHEN 'running' THEN 'queued' ELSE state END, COALESCE(visitor, ''), 0, 1, attempts,
       GREATEST(1, epoch * 1000000, COALESCE(started_event, 0), COALESCE(final_event, 0),
           COALESCE((SELECT MAX(event) FROM images WHERE images.generation = generations.id), 0)),
       created_at, started_at, finished_at, error
FROM generations;

INSERT INTO job_events (job, number, name) SELECT id, 1, 'queued' FROM generations;
INSERT INTO job_events (job, number, name)
SELECT id, started_event, 'started' FROM generations WHERE started_event > 1;
INSERT INTO job_events (job, number, name)
SELECT id, final_event, state FROM generations WHERE final_event > 1 AND state IN ('done', 'failed', 'cancelled');

INSERT INTO jobs (id, kind, state, owner, turn, cost, attempts, last_event, created_at, started_at, finished_at, error)
SELECT id, 'training', CASE state WHEN 'running' THEN 'queued' ELSE state END, '', 0, 1, attempts,
       GREATEST(1, COALESCE((SELECT MAX(number) FROM training_points WHERE training_points.job = training_jobs.id), 0),
           COALESCE((SELECT MAX(number) FROM training_samples WHERE training_samples.job = training_jobs.id), 0)),
       created_at, started_at, finished_at, error
FROM training_jobs;

UPDATE jobs SET lease = last_event / 1000000;

DROP INDEX generations_by_state;
DROP INDEX training_jobs_by_state;
ALTER TABLE generations DROP COLUMN state,
    DROP COLUMN created_at,
    DROP COLUMN started_at,
    DROP COLUMN finished_at,
    DROP COLUMN error,
    DROP COLUMN epoch,
    DROP COLUMN attempts,
    DROP COLUMN started_event,
    DROP COLUMN final_event;
ALTER TABLE training_jobs DROP COLUMN state,
    DROP COLUMN created_at,
    DROP COLUMN started_at,
    DROP COLUMN finished_at,
    DROP COLUMN error,
    DROP COLUMN attempts;
