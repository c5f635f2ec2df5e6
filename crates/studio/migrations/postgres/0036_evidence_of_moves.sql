-- What a verdict was given on: the base model, and a digest of it in the rows of the ledger that rest on it.
ALTER TABLE verdicts ADD COLUMN base TEXT;                           -- hash of the model; NULL: not known
UPDATE verdicts SET base = (SELECT evaluations.base FROM evaluations WHERE evaluations.id = verdicts.id);
ALTER TABLE moves ADD COLUMN verdict_digest TEXT;                    -- NULL: no verdict, or a row of an older program
ALTER TABLE adapter_versions ADD COLUMN note TEXT NOT NULL DEFAULT '';

CREATE FUNCTION refuse_other_verdict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'verdicts are append-only';
END $$;
CREATE TRIGGER verdicts_are_not_changed BEFORE UPDATE OR DELETE ON verdicts
    FOR EACH ROW EXECUTE FUNCTION refuse_other_verdict();
CREATE TRIGGER verdicts_are_not_truncated BEFORE TRUNCATE ON verdicts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_other_verdict();
