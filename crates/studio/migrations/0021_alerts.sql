-- What the rules of alerts found.
CREATE TABLE alerts (
    id             TEXT PRIMARY KEY,           -- a UUID v7
    rule           TEXT NOT NULL,
    message        TEXT NOT NULL,
    version        TEXT,                       -- name@vN
    value          DOUBLE PRECISION NOT NULL,
    above          DOUBLE PRECISION NOT NULL,
    counted        BIGINT NOT NULL,
    generations    TEXT NOT NULL,              -- JSON: ids
    opened_at      BIGINT NOT NULL,
    closed_at      BIGINT,                     -- NULL: it is open
    rollback       TEXT,                       -- what the automatic rollback did
    rolled_back    TEXT,                       -- the adapter whose production it moved
    rolled_back_at BIGINT
);

CREATE UNIQUE INDEX alerts_open ON alerts (rule) WHERE closed_at IS NULL;
CREATE INDEX alerts_rolled_back ON alerts (rolled_back, rolled_back_at);

-- Messages about them, until they are sent: the spool.
CREATE TABLE deliveries (
    id       TEXT PRIMARY KEY,                 -- a UUID v7
    alert    TEXT NOT NULL REFERENCES alerts (id),
    event    TEXT NOT NULL CHECK (event IN ('opened', 'closed')),
    channel  TEXT NOT NULL CHECK (channel IN ('webhook', 'ntfy')),
    state    TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts BIGINT NOT NULL DEFAULT 0,
    next_at  BIGINT NOT NULL,
    error    TEXT
);

CREATE INDEX deliveries_waiting ON deliveries (state, next_at);
CREATE INDEX deliveries_by_alert ON deliveries (alert);
