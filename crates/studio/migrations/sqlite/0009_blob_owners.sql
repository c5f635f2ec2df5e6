-- The rows that need a blob. Triggers keep the table in the transactions that write those rows, so none can forget it;
-- whoever replaces one of the tables below creates its triggers again. A generation's inputs own nothing: an input is an
-- upload or an image, and deleting that is final.
CREATE TABLE blob_owners (
    hash  TEXT NOT NULL,
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

-- The file of an embedding stays when the embedding is removed, so that images made with it can be made again. Of those
-- removed before, recipes know the file.
INSERT INTO blob_owners (hash, kind, owner) SELECT hash, 'embedding', word FROM embeddings;
INSERT INTO blob_owners (hash, kind, owner)
SELECT json_extract(named.value, '$.hash'), 'embedding', json_extract(named.value, '$.word')
FROM images, json_each(CASE WHEN json_valid(recipe) THEN recipe ELSE '{}' END, '$.embeddings') AS named
WHERE json_extract(named.value, '$.hash') IS NOT NULL AND json_extract(named.value, '$.word') IS NOT NULL
ON CONFLICT (hash, kind, owner) DO NOTHING;

-- A blob that lost an owner may be unused; it is looked at right after the transaction and again at each collection.
CREATE TRIGGER blob_owners_deleted AFTER DELETE ON blob_owners BEGIN
    INSERT INTO blobs_to_remove (hash) VALUES (OLD.hash) ON CONFLICT (hash) DO NOTHING;
END;

CREATE TRIGGER images_own_blob AFTER INSERT ON images BEGIN
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'image', NEW.generation || '/' || NEW.position)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
CREATE TRIGGER images_release_blob AFTER DELETE ON images BEGIN
    DELETE FROM blob_owners
    WHERE hash = OLD.hash AND kind = 'image' AND owner = OLD.generation || '/' || OLD.position;
END;

CREATE TRIGGER uploads_own_blob AFTER INSERT ON uploads BEGIN
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'upload', NEW.hash)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
CREATE TRIGGER uploads_release_blob AFTER DELETE ON uploads BEGIN
    DELETE FROM blob_owners WHERE hash = OLD.hash AND kind = 'upload' AND owner = OLD.hash;
END;

-- A deleted version keeps its row.
CREATE TRIGGER adapter_versions_own_blob AFTER INSERT ON adapter_versions WHEN NEW.deleted_at IS NULL BEGIN
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'adapter version', NEW.name || '/' || NEW.version)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
CREATE TRIGGER adapter_versions_release_blob AFTER UPDATE OF deleted_at ON adapter_versions
WHEN NEW.deleted_at IS NOT NULL BEGIN
    DELETE FROM blob_owners
    WHERE hash = OLD.hash AND kind = 'adapter version' AND owner = OLD.name || '/' || OLD.version;
END;

CREATE TRIGGER embeddings_own_blob AFTER INSERT ON embeddings BEGIN
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'embedding', NEW.word)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;

CREATE TRIGGER dataset_pictures_own_blob AFTER INSERT ON dataset_pictures BEGIN
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'dataset image', NEW.dataset)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
CREATE TRIGGER dataset_pictures_release_blob AFTER DELETE ON dataset_pictures BEGIN
    DELETE FROM blob_owners WHERE hash = OLD.hash AND kind = 'dataset image' AND owner = OLD.dataset;
END;

CREATE TRIGGER training_samples_own_blob AFTER INSERT ON training_samples BEGIN
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'training sample',
        NEW.job || '/' || NEW.step || '/' || NEW.prompt_index || '/' || NEW.with_adapter)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
CREATE TRIGGER training_samples_release_blob AFTER DELETE ON training_samples BEGIN
    DELETE FROM blob_owners WHERE hash = OLD.hash AND kind = 'training sample'
    AND owner = OLD.job || '/' || OLD.step || '/' || OLD.prompt_index || '/' || OLD.with_adapter;
END;
-- A resumed run makes a sample once more.
CREATE TRIGGER training_samples_replace_blob AFTER UPDATE OF hash ON training_samples WHEN NEW.hash <> OLD.hash BEGIN
    DELETE FROM blob_owners WHERE hash = OLD.hash AND kind = 'training sample'
    AND owner = OLD.job || '/' || OLD.step || '/' || OLD.prompt_index || '/' || OLD.with_adapter;
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'training sample',
        NEW.job || '/' || NEW.step || '/' || NEW.prompt_index || '/' || NEW.with_adapter)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
