-- Which images were made with an adapter version: their recipes say it too, but finding them there reads every image.
CREATE TABLE image_adapters (
    generation TEXT NOT NULL,
    position   BIGINT NOT NULL,
    version    TEXT NOT NULL,                   -- name@vN
    created_at BIGINT NOT NULL,                 -- of the image
    PRIMARY KEY (generation, position, version),
    FOREIGN KEY (generation, position) REFERENCES images (generation, position) ON DELETE CASCADE
);

CREATE INDEX image_adapters_by_version ON image_adapters (version, created_at);

INSERT INTO image_adapters (generation, position, version, created_at)
SELECT DISTINCT images.generation, images.position, json_extract(used.value, '$.name'), images.created_at
FROM images, json_each(CASE WHEN json_valid(recipe) THEN recipe ELSE '{}' END, '$.spec.adapters') AS used
WHERE json_extract(used.value, '$.name') IS NOT NULL;

-- Runs are found by the version that they have made.
CREATE INDEX training_jobs_by_version ON training_jobs (version) WHERE version IS NOT NULL;
