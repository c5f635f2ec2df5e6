-- Adapters as they were at steps of a training run, where a sheet uses them. None is a version. They go with the last sheet
-- of their run, and with what the run takes back.
CREATE TABLE checkpoints (
    job        TEXT NOT NULL REFERENCES training_jobs (id),
    step       BIGINT NOT NULL,
    hash       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (job, step)
);

CREATE TRIGGER checkpoints_own_blob AFTER INSERT ON checkpoints BEGIN
    INSERT INTO blob_owners (hash, kind, owner) VALUES (NEW.hash, 'checkpoint', NEW.job || '/' || NEW.step)
    ON CONFLICT (hash, kind, owner) DO NOTHING;
END;
CREATE TRIGGER checkpoints_release_blob AFTER DELETE ON checkpoints BEGIN
    DELETE FROM blob_owners WHERE hash = OLD.hash AND kind = 'checkpoint' AND owner = OLD.job || '/' || OLD.step;
END;
