-- Runs and registered versions that were taken over from MLflow servers.
CREATE TABLE imported_runs (
    id          TEXT PRIMARY KEY,              -- MLflow's
    source      TEXT NOT NULL,                 -- address of the server
    experiment  TEXT NOT NULL,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL,
    started_at  BIGINT NOT NULL,
    finished_at BIGINT,
    params      TEXT NOT NULL,                 -- JSON
    tags        TEXT NOT NULL                  -- JSON
);

CREATE INDEX imported_runs_by_time ON imported_runs (started_at);

CREATE TABLE imported_metrics (
    run   TEXT NOT NULL REFERENCES imported_runs (id),
    name  TEXT NOT NULL,
    step  BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run, name, step, at)
);

CREATE TABLE imported_versions (
    source  TEXT NOT NULL,
    model   TEXT NOT NULL,                     -- name and number in MLflow's registry
    number  TEXT NOT NULL,
    run     TEXT NOT NULL,                     -- MLflow's run; may be empty
    version TEXT NOT NULL,                     -- name@vN here
    PRIMARY KEY (source, model, number)
);

CREATE INDEX imported_versions_by_run ON imported_versions (run);
