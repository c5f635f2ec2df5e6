-- Grids of generations that differ in a few settings. A cell is an ordinary generation; it exists once the queue has room.
CREATE TABLE sheets (
    id         TEXT PRIMARY KEY,               -- a UUID v7
    request    TEXT NOT NULL,                  -- JSON
    created_at BIGINT NOT NULL,
    closed_at  BIGINT                          -- cancelled; NULL: cells are still to be generated, or all are
);

CREATE TABLE sheet_cells (
    sheet      TEXT NOT NULL REFERENCES sheets (id),
    position   BIGINT NOT NULL,
    generation TEXT,                           -- NULL: not in the queue yet. It may be deleted later
    error      TEXT,                           -- why it cannot be put there
    PRIMARY KEY (sheet, position)
);

CREATE INDEX sheet_cells_open ON sheet_cells (sheet, position) WHERE generation IS NULL AND error IS NULL;
