//! Rows of finished images.

use adire_protocol::{GalleryImage, ImageRecord, Recipe};

use sqlx::{Any, Transaction};

use super::{Store, decode, encode, jobs::forget_attempts, searchable, sql, sql::storable, stats, storage};
use crate::{
    StudioError,
    job::{EndedBy, Lease, Outcome, WriteError},
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
    ) -> Result<(u64, Option<u64>), WriteError> {
        let (mut change, event) = self.change_held(lease, least).await?;
        let rows = self.write_image(&mut change, (lease, event), image, visitor, inserted);
        let (kept, end) = futures::join!(kept, rows);
        kept?;
        let end = end?;
        change.commit().await.map_err(storage)?;
        Ok((event.cast_unsigned(), end))
    }

    /// The rows of an image; the number of the generation's last event, if it was the last image.
    async fn write_image(
        &self,
        change: &mut Transaction<'_, Any>,
        (lease, event): (&Lease, i64),
        image: &ImageRecord,
        visitor: Option<&str>,
        Inserted { switched, last }: Inserted,
    ) -> Result<Option<u64>, StudioError> {
        sqlx::query(
            "INSERT INTO images (generation, position, hash, visitor, recipe, infotext, created_at, event) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&image.generation)
        .bind(i64::from(image.index))
        .bind(&image.hash)
        .bind(visitor)
        .bind(encode(&image.recipe)?)
        .bind(&image.infotext)
        .bind(image.created_at)
        .bind(event)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
        searchable::insert(change, image, visitor).await?;
        for used in &image.recipe.spec.adapters {
            sqlx::query(
                "INSERT INTO image_adapters (generation, position, version, created_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (generation, position, version) DO NOTHING",
            )
            .bind(&image.generation)
            .bind(i64::from(image.index))
            .bind(&used.name)
            .bind(image.created_at)
            .execute(&mut **change)
            .await
            .map_err(storage)?;
        }
        stats::add_image(change, &image.generation, &image.recipe, switched).await?;
        if last {
            return self.end_in(change, EndedBy::Holder(lease, 0), Outcome::Done { version: None }).await;
        }
        forget_attempts(change, &image.generation).await?;
        Ok(None)
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
