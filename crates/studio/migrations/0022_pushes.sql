-- Uploads of adapter versions to a Hub: jobs of a fourth kind, which do not use the device.
CREATE TABLE pushes (
    id         TEXT PRIMARY KEY REFERENCES jobs (id),
    request    TEXT NOT NULL,                  -- JSON
    name       TEXT NOT NULL,
    version    BIGINT NOT NULL,
    repository TEXT NOT NULL,
    progress   TEXT NOT NULL DEFAULT '',       -- one sentence
    url        TEXT,                           -- the repository's page, once it is done
    commit_id  TEXT                            -- NULL: nothing had changed
);

CREATE INDEX pushes_by_version ON pushes (name, version, id);
