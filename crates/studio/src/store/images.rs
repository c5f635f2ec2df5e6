//! Rows of finished images.

use adire_protocol::{GalleryImage, ImageRecord, Recipe};

use super::{
    Store,
    batch::{Batch, Statement},
    decode, encode,
    jobs::{held, held_to_its_end, noted},
    searchable, shadow_pairs, sql,
    sql::storable,
    stats, storage,
};
use crate::{
    StudioError,
    job::{JobState, Lease, WriteError},
};

row! {
    /// An image as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct ImageRow {
        pub(super) hash: String,
        pub(crate) generation: String,
        pub(crate) position: i64,
        pub(super) recipe: String,
        pub(super) infotext: String,
        pub(super) created_at: i64,
        pub(crate) event: i64,
    }
}

/// The numbers of what was written with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Of its event.
    pub(crate) event: u64,
    /// Of its generation's end, if it was the last one.
    pub(crate) end: Option<u64>,
    /// Whether any shadow is on, of which a pair may wait now.
    pub(crate) shadowed: bool,
}

/// How an image came about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inserted {
    /// Other adapters were in effect before it.
    pub(crate) switched: bool,
    /// None of its generation is left.
    pub(crate) last: bool,
}

impl ImageRow {
    pub(crate) fn record(self) -> Result<ImageRecord, StudioError> {
        Ok(ImageRecord {
            recipe: decode(&self.recipe, "recipe", &self.hash)?,
            url: image_url(&self.hash),
            hash: self.hash,
            generation: self.generation,
            index: u32::try_from(self.position).unwrap_or(u32::MAX),
            created_at: self.created_at,
            infotext: self.infotext,
        })
    }
}

row! {
    struct GalleryRow {
        hash: String,
        generation: String,
        position: i64,
        visitor: Option<String>,
        recipe: String,
        created_at: i64,
    }
}

impl GalleryRow {
    fn record(self) -> Result<GalleryImage, StudioError> {
        let recipe: Recipe = decode(&self.recipe, "recipe", &self.hash)?;
        Ok(GalleryImage {
            url: image_url(&self.hash),
            prompt: recipe.spec.prompt,
            hash: self.hash,
            generation: self.generation,
            index: u32::try_from(self.position).unwrap_or(u32::MAX),
            visitor: self.visitor,
            created_at: self.created_at,
        })
    }
}

/// Finds the images of a generation, in order.
pub(super) fn images_of(generation: &str) -> Statement {
    Statement::of(format!("{COLUMNS} WHERE generation = $1 ORDER BY position")).bind(generation)
}

/// Where the server gives an image.
pub(crate) fn image_url(hash: &str) -> String {
    format!("/api/v1/images/{hash}.png")
}

pub(super) const COLUMNS: &str =
    "SELECT hash, generation, position, recipe, infotext, created_at, event FROM images";

impl Store {
    /// Writes an image of a generation that is held, and with the last one that it is done; the numbers of both events,
    /// at least `least`. Nothing of it is to be seen before `kept` says that the image's file is there.
    pub(crate) async fn insert_image(
        &self,
        (lease, least): (&Lease, u64),
        image: &ImageRecord,
        visitor: Option<&str>,
        inserted: Inserted,
        kept: impl Future<Output = Result<(), StudioError>> + Send,
    ) -> Result<Written, WriteError> {
        let batch = self.image_batch((lease, least), image, visitor, inserted)?;
        let rows = self.begin_with(batch);
        let (kept, rows) = futures::join!(kept, rows);
        // First whether the lease is still there: then nobody else's image is in the way.
        let (mut open, rows) = rows?.ok_or(WriteError::LeaseLost)?;
        kept?;
        let numbers: Vec<(i64,)> = rows.of(0)?;
        let number = numbers.first().map_or(0, |(number,)| number.cast_unsigned());
        let mut shadowed = false;
        if inserted.last {
            let on = rows.of(1)?;
            shadowed = !on.is_empty();
            shadow_pairs::count(open.connection(), &image.generation, on).await?;
        }
        open.commit().await?;
        let end = inserted.last.then_some(number);
        Ok(Written { event: number - u64::from(inserted.last), end, shadowed })
    }

    /// The statements that write an image, and with the last one that its generation is done.
    fn image_batch(
        &self,
        (lease, least): (&Lease, u64),
        image: &ImageRecord,
        visitor: Option<&str>,
        inserted: Inserted,
    ) -> Result<Batch, StudioError> {
        let (id, index, last) = (image.generation.as_str(), i64::from(image.index), inserted.last);
        let mut batch = Batch::default();
        if last {
            batch.add(held_to_its_end(self.kind, lease, least));
            batch.add(shadow_pairs::counting(id));
        } else {
            batch.add(held(lease, least));
        }
        batch.add(
            Statement::of(
                "INSERT INTO images (generation, position, hash, visitor, recipe, infotext, created_at, event) \
                 SELECT id, $2, $3, $4, $5, $6, $7, last_event - $8 FROM jobs WHERE id = $1",
            )
            .bind(id)
            .bind(index)
            .bind(&image.hash)
            .bind(visitor)
            .bind(encode(&image.recipe)?)
            .bind(&image.infotext)
            .bind(image.created_at)
            .bind(i64::from(last)),
        );
        batch.add(searchable::insert(image, visitor));
        for used in &image.recipe.spec.adapters {
            batch.add(
                Statement::of(
                    "INSERT INTO image_adapters (generation, position, version, created_at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (generation, position, version) DO NOTHING",
                )
                .bind(id)
                .bind(index)
                .bind(&used.name)
                .bind(image.created_at),
            );
        }
        batch.add(stats::add_image(id, &image.recipe, inserted.switched, last));
        if last {
            stats::record(&mut batch, id, "");
            batch.add(noted(id, JobState::Done));
        }
        Ok(batch)
    }

    pub(crate) async fn images_of(&self, generation: &str) -> Result<Vec<ImageRow>, StudioError> {
        sqlx::query_as(sql(format!("{COLUMNS} WHERE generation = $1 ORDER BY position")))
            .bind(generation)
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    /// Those of a generation whose events have a number above `after`.
    pub(crate) async fn images_after(
        &self,
        generation: &str,
        after: u64,
    ) -> Result<Vec<ImageRow>, StudioError> {
        sqlx::query_as(sql(format!("{COLUMNS} WHERE generation = $1 AND event > $2 ORDER BY event")))
            .bind(generation)
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    /// A visitor's images made before `before`, newest first.
    pub(crate) async fn history(
        &self,
        visitor: &str,
        limit: u32,
        before: i64,
    ) -> Result<Vec<ImageRow>, StudioError> {
        sqlx::query_as(sql(format!(
            "{COLUMNS} WHERE visitor = $1 AND created_at < $2 ORDER BY created_at DESC LIMIT $3"
        )))
        .bind(visitor)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// Everybody's images made before `before`, newest first.
    pub(crate) async fn all_images(&self, limit: u32, before: i64) -> Result<Vec<GalleryImage>, StudioError> {
        let rows: Vec<GalleryRow> = sqlx::query_as(
            "SELECT hash, generation, position, visitor, recipe, created_at FROM images \
             WHERE created_at < $1 ORDER BY created_at DESC LIMIT $2",
        )
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        rows.into_iter().map(GalleryRow::record).collect()
    }

    /// Whether some image has that content; blobs hold other things too.
    pub(crate) async fn has_image(&self, hash: &str) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let found: Option<(i64,)> = sqlx::query_as("SELECT position FROM images WHERE hash = $1 LIMIT 1")
            .bind(hash)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        Ok(found.is_some())
    }

    /// Time of the newest image; 0 before the first.
    pub(crate) async fn newest_image_at(&self) -> Result<i64, StudioError> {
        let (at,): (i64,) = sqlx::query_as("SELECT COALESCE(MAX(created_at), 0) FROM images")
            .fetch_one(&self.pool)
            .await
            .map_err(storage)?;
        Ok(at)
    }
}
