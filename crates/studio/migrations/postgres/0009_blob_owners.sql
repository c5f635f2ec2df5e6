-- The rows that need a blob; `migrations/sqlite/0009_blob_owners.sql` says more.
CREATE TABLE blob_owners (
    hash  TEXT COLLATE "C" NOT NULL,
    kind  TEXT NOT NULL,                        -- image, upload, adapter version, embedding, dataset image, training sample
    owner TEXT NOT NULL,                        -- key of the row
    PRIMARY KEY (hash, kind, owner)
);

INSERT INTO blob_owners (hash, kind, owner) SELECT hash, 'image', generation || '/' || position FROM images;
INSERT INTO blob_owners (hash, kind, owner) SELECT hash, 'upload', hash FROM uploads;
INSERT INTO blob_owners (hash, kind, owner)
SELECT hash, 'adapter version', name || '/' || version FROM adapter_versions WHERE deleted_at IS NULL;
INSERT INTO blob_owners (hash, kind, owner) SELECT hash, 'dataset image', dataset FROM dataset_pictures;
INSERT INTO blob_owners (hash, kind, owner)
SELECT hash, 'training sample', job || '/' || step || '/' || prompt_index || '/' || with_adapter FROM training_samples;
INSERT INTO blob_owners (hash, kind, owner) SELECT hash, 'embedding', word FROM embeddings;
INSERT INTO blob_owners (hash, kind, owner)
SELECT named.value ->> 'hash', 'embedding', named.value ->> 'word'
FROM images CROSS JOIN LATERAL json_array_elements(COALESCE(CAST(recipe AS JSON) -> 'embeddings', '[]')) AS named (value)
WHERE named.value ->> 'hash' IS NOT NULL AND named.value ->> 'word' IS NOT NULL
ON CONFLICT (hash, kind, owner) DO NOTHING;

-- Arguments: the kind, then the columns of the row's key.
CREATE FUNCTION own_blob() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO blob_owners (hash, kind, owner)
    SELECT NEW.hash, TG_ARGV[0], string_agg(to_jsonb(NEW) ->> key.name, '/' ORDER BY key.place)
    FROM unnest(TG_ARGV[1:]) WITH ORDINALITY AS key (name, place)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
    RETURN NULL;
END $$;

CREATE FUNCTION release_blob() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    DELETE FROM blob_owners WHERE hash = OLD.hash AND kind = TG_ARGV[0] AND owner = (
        SELECT string_agg(to_jsonb(OLD) ->> key.name, '/' ORDER BY key.place)
        FROM unnest(TG_ARGV[1:]) WITH ORDINALITY AS key (name, place)
    );
    RETURN NULL;
END $$;

CREATE FUNCTION note_blob() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO blobs_to_remove (hash) VALUES (OLD.hash) ON CONFLICT (hash) DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER blob_owners_deleted AFTER DELETE ON blob_owners FOR EACH ROW EXECUTE FUNCTION note_blob();

CREATE TRIGGER images_own_blob AFTER INSERT ON images
    FOR EACH ROW EXECUTE FUNCTION own_blob('image', 'generation', 'position');
CREATE TRIGGER images_release_blob AFTER DELETE ON images
    FOR EACH ROW EXECUTE FUNCTION release_blob('image', 'generation', 'position');

CREATE TRIGGER uploads_own_blob AFTER INSERT ON uploads
    FOR EACH ROW EXECUTE FUNCTION own_blob('upload', 'hash');
CREATE TRIGGER uploads_release_blob AFTER DELETE ON uploads
    FOR EACH ROW EXECUTE FUNCTION release_blob('upload', 'hash');

CREATE TRIGGER adapter_versions_own_blob AFTER INSERT ON adapter_versions
    FOR EACH ROW WHEN (NEW.deleted_at IS NULL) EXECUTE FUNCTION own_blob('adapter version', 'name', 'version');
CREATE TRIGGER adapter_versions_release_blob AFTER UPDATE OF deleted_at ON adapter_versions
    FOR EACH ROW WHEN (NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION release_blob('adapter version', 'name', 'version');

CREATE TRIGGER embeddings_own_blob AFTER INSERT ON embeddings
    FOR EACH ROW EXECUTE FUNCTION own_blob('embedding', 'word');

CREATE TRIGGER dataset_pictures_own_blob AFTER INSERT ON dataset_pictures
    FOR EACH ROW EXECUTE FUNCTION own_blob('dataset image', 'dataset');
CREATE TRIGGER dataset_pictures_release_blob AFTER DELETE ON dataset_pictures
    FOR EACH ROW EXECUTE FUNCTION release_blob('dataset image', 'dataset');

CREATE TRIGGER training_samples_own_blob AFTER INSERT ON training_samples
    FOR EACH ROW EXECUTE FUNCTION own_blob('training sample', 'job', 'step', 'prompt_index', 'with_adapter');
CREATE TRIGGER training_samples_release_blob AFTER DELETE ON training_samples
    FOR EACH ROW EXECUTE FUNCTION release_blob('training sample', 'job', 'step', 'prompt_index', 'with_adapter');
-- A resumed run makes a sample once more. Triggers of one event run in the order of their names.
CREATE TRIGGER training_samples_replace_1 AFTER UPDATE OF hash ON training_samples
    FOR EACH ROW WHEN (NEW.hash <> OLD.hash)
    EXECUTE FUNCTION release_blob('training sample', 'job', 'step', 'prompt_index', 'with_adapter');
CREATE TRIGGER training_samples_replace_2 AFTER UPDATE OF hash ON training_samples
    FOR EACH ROW WHEN (NEW.hash <> OLD.hash)
    EXECUTE FUNCTION own_blob('training sample', 'job', 'step', 'prompt_index', 'with_adapter');
