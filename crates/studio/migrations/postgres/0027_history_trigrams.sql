-- A search for words reads this instead of every row of the visitor. The index is of trigrams, because a word's beginning
-- stands anywhere in the text. Where the extension is missing or may not be created, searches read the visitor's rows.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX history_by_trigrams ON history USING gin (words gin_trgm_ops);
    END IF;
EXCEPTION
    -- Not allowed; or the extension is in a schema that is not searched.
    WHEN insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'History is searched without an index of words: %', SQLERRM;
END $$;
