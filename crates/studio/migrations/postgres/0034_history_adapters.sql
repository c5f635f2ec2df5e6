-- A search for an adapter reads this instead of every row of the visitor, as one for words does since 0027.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm') THEN
        CREATE INDEX history_by_adapters ON history USING gin (adapters gin_trgm_ops);
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'History is searched without an index of adapters: %', SQLERRM;
END $$;
