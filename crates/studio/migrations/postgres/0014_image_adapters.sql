-- Which images were made with an adapter version; `migrations/sqlite/0014_image_adapters.sql` says more.
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
SELECT DISTINCT images.generation, images.position, used.value ->> 'name', images.created_at
FROM images CROSS JOIN LATERAL
     json_array_elements(COALESCE(CAST(recipe AS JSON) -> 'spec' -> 'adapters', '[]')) AS used (value)
WHERE used.value ->> 'name' IS NOT NULL;

CREATE INDEX training_jobs_by_version ON training_jobs (version) WHERE version IS NOT NULL;
