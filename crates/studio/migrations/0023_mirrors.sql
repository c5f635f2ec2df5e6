-- How far what happens here has been told to other servers, such as MLflow: the spool. Everything that is to be told is rows
-- already, so a row here is a place in them.
CREATE TABLE mirrors (
    target TEXT NOT NULL,                      -- which server
    kind   TEXT NOT NULL,                      -- training, evaluation, version, ledger, imported
    id     TEXT NOT NULL,
    state  TEXT NOT NULL,                      -- JSON
    PRIMARY KEY (target, kind, id)
);
