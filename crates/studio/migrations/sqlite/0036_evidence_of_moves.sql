-- What a verdict was given on: the base model, and a digest of it in the rows of the ledger that rest on it.
ALTER TABLE verdicts ADD COLUMN base TEXT;                           -- hash of the model; NULL: not known
UPDATE verdicts SET base = (SELECT evaluations.base FROM evaluations WHERE evaluations.id = verdicts.id);
ALTER TABLE moves ADD COLUMN verdict_digest TEXT;                    -- NULL: no verdict, or a row of an older program
ALTER TABLE adapter_versions ADD COLUMN note TEXT NOT NULL DEFAULT '';

CREATE TRIGGER verdicts_are_not_changed BEFORE UPDATE ON verdicts BEGIN
    SELECT RAISE(ABORT, 'verdicts are append-only');
END;
CREATE TRIGGER verdicts_are_not_deleted BEFORE DELETE ON verdicts BEGIN
    SELECT RAISE(ABORT, 'verdicts are append-only');
END;
-- INSERT OR REPLACE would delete without the trigger above. The verdict that is there stays.
CREATE TRIGGER verdicts_are_kept BEFORE INSERT ON verdicts
WHEN EXISTS (SELECT 1 FROM verdicts WHERE id = NEW.id) BEGIN
    SELECT RAISE(IGNORE);
END;
