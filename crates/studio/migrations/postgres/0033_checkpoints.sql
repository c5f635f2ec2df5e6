-- Adapters as they were at steps of a training run, where a sheet uses them. None is a version. They go with the last sheet
-- of their run, and with what the run takes back.
CREATE TABLE checkpoints (
    job        TEXT NOT NULL REFERENCES training_jobs (id),
    step       BIGINT NOT NULL,
    hash       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (job, step)
);

CREATE TRIGGER checkpoints_own_blob AFTER INSERT ON checkpoints
    FOR EACH ROW EXECUTE FUNCTION own_blob('checkpoint', 'job', 'step');
CREATE TRIGGER checkpoints_release_blob AFTER DELETE ON checkpoints
    FOR EACH ROW EXECUTE FUNCTION release_blob('checkpoint', 'job', 'step');
