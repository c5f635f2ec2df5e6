-- Flags become BIGINT, 0 or 1, as on SQLite.
ALTER TABLE training_jobs ALTER COLUMN halved DROP DEFAULT,
    ALTER COLUMN halved TYPE BIGINT USING CASE WHEN halved THEN 1 ELSE 0 END,
    ALTER COLUMN halved SET DEFAULT 0;
ALTER TABLE training_samples
    ALTER COLUMN with_adapter TYPE BIGINT USING CASE WHEN with_adapter THEN 1 ELSE 0 END;

-- What is sorted is sorted by bytes, as on SQLite, whatever the locale of the database.
ALTER TABLE generations ALTER COLUMN id TYPE TEXT COLLATE "C";
ALTER TABLE adapter_versions ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE datasets ALTER COLUMN id TYPE TEXT COLLATE "C";
ALTER TABLE dataset_pictures ALTER COLUMN hash TYPE TEXT COLLATE "C";
ALTER TABLE training_jobs ALTER COLUMN id TYPE TEXT COLLATE "C";
ALTER TABLE embeddings ALTER COLUMN folded TYPE TEXT COLLATE "C";
