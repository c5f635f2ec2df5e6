-- Figures of generations. They are kept when generations are deleted, so they hold no prompt and no visitor.
ALTER TABLE generations ADD COLUMN versions TEXT;                     -- name@vN joined with ' + '; NULL: not filled in yet
ALTER TABLE generations ADD COLUMN prompt_key TEXT;                   -- digest of the prompt; equal prompts share it
ALTER TABLE generations ADD COLUMN render_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE generations ADD COLUMN switches BIGINT NOT NULL DEFAULT 0;

CREATE INDEX generations_by_prompt ON generations (prompt_key, id);

CREATE TABLE generation_stats (
    generation TEXT PRIMARY KEY,
    ended_at   BIGINT NOT NULL,
    versions   TEXT NOT NULL,
    outcome    TEXT NOT NULL,                  -- done, failed, cancelled
    cause      TEXT NOT NULL,                  -- kind of failure; empty unless it failed
    wait_ms    BIGINT,                         -- from submission to start
    run_ms     BIGINT,                         -- from start to end
    render_ms  BIGINT NOT NULL,                -- of the device
    images     BIGINT NOT NULL,
    switches   BIGINT NOT NULL                 -- images that other adapters had to be put into effect for
);

-- Covers what the monitoring page reads.
CREATE INDEX generation_stats_by_time ON generation_stats
    (ended_at, versions, outcome, cause, wait_ms, run_ms, render_ms, images, switches);

-- Sums of all of them since the beginning, for counters.
CREATE TABLE stat_totals (
    versions TEXT NOT NULL,
    name     TEXT NOT NULL,
    label    TEXT NOT NULL,
    value    BIGINT NOT NULL,
    PRIMARY KEY (versions, name, label)
);

-- When servers were up.
CREATE TABLE uptimes (
    id         TEXT PRIMARY KEY,               -- a UUID v7
    started_at BIGINT NOT NULL,
    last_at    BIGINT NOT NULL
);
